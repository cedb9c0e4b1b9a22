// Package county describes the lab's small county and brings it to life: two
// organisations, two hubs, a collector and the gateways of a few sites, each a
// node of its own behind a line that can be delayed and cut, each running the
// real programs. What is then done to it is the business of the commands and
// scenarios that hold a County.
package county
