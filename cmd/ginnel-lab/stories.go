package main

// scenarios are all of them, in the order in which `all` plays them.
var scenarios = []scenario{
	{"lab", "the lab's own lines do what they are told", playLab},
	{"restart", "the agent is restarted and killed under a 1 ms ping", playRestart},
	{"apart", "networks do not mix", playApart},
	{"hub", "a hub cannot be reached", playHub},
	{"collector", "the collector cannot be reached for ten minutes", playCollector},
	{"disk", "the disk under the spool is full", playDisk},
	{"leave", "the agent is stopped, and everything of ours removed", playLeave},
	{"token", "a used and an unknown token are refused", playToken},
}
