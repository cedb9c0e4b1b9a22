package main

// scenarios are all of them, in the order in which `all` plays them.
var scenarios = []scenario{
	{"lab", "the lab's own lines do what they are told", playLab},
}
