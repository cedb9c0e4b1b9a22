package main

// scenarios are all of them, in the order in which `all` plays them.
var scenarios = []scenario{
	{"lab", "the lab's own lines do what they are told", playLab},
	{"restart", "the agent is restarted and killed under a 1 ms ping", playRestart},
	{"upgrade", "the agent is replaced by another build under a 1 ms ping", playUpgrade},
	{"dataplane", "data planes are replaced and killed, at a site and at its hub", playDataplane},
	{"plugin", "a check by a plugin, which is killed, ends with its agent, is changed", playPlugin},
	{"leak", "networks do not mix, and nothing leaks, in every state of a site and its hubs", playLeak},
	{"hub", "a hub cannot be reached", playHub},
	{"collector", "the collector cannot be reached for ten minutes", playCollector},
	{"disk", "the disk under the spool is full", playDisk},
	{"heal", "somebody takes what is ours, kind by kind, and it comes back", playHeal},
	{"crash", "the agent is killed at random points of its work, and starts again", playCrash},
	{"bighub", "a hub with 500 sites: one is added, changed, removed", playBigHub},
	{"flood", "the kernel tells more than can be read while somebody takes what is ours", playFlood},
	{"fight", "programs fight over what is ours", playFight},
	{"darkboot", "a boot without the collector, the resolver and one hub's name", playDarkBoot},
	{"leave", "the agent is stopped, and everything of ours removed", playLeave},
	{"refusals", "no back end, no rights, a port that is taken, a config with ten mistakes", playRefusals},
	{"badhost", "a host on which others have taken what we need, and one with 10,000 peers", playBadHost},
	{"why", "each layer is broken for real, and asked why: one cause, one code, one alarm", playWhy},
	{"england", "a fleet of ten thousand sites is validated, compiled and planned", playEngland},
	{"token", "a used and an unknown token are refused", playToken},
	{"herd", "all gateways of a county lose the collector at once, and a sick one takes its place", playHerd},
	{"push", "a config is pushed to a thousand simulated gateways, and in rings to a county of them", playPush},
}
