// Package trial decides whether a new config stays. A config that came signed is
// applied as a trial: it stays when it is proved, is gone back from when it is
// at fault, and is held, unconfirmed, while neither can be told.
//
// Verdict is the decision, and pure. Journal keeps a trial on disk, from before
// the first write on, so that a crash or a power cut at any moment leaves one of
// the two configs, whole. Trial is the loop between them; what it needs of the
// gateway it has by small interfaces, so that a simulated gateway tries configs
// by the same code.
package trial
