//go:build race

package plugin

// shadow is what the race detector maps besides what a program uses.
const shadow = 1 << 46
