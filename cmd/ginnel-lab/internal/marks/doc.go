// Package marks sends packets that each carry a number of their own, and sees
// them wherever in the lab they turn up: on every link of a node, as it is
// there, and in a node's own stack behind its packet filter. Which of them may be
// where is the caller's business.
package marks
