// Package wan is the lab's wide area network: each line between a place and
// its provider is a Link that carries Ethernet frames and can delay, lose,
// limit or cut them. Every frame can be watched as it leaves or reaches the
// place, before the line does anything to it. Where frames come from and go to
// is the caller's business; here a port is anything that reads and writes
// whole frames.
package wan
