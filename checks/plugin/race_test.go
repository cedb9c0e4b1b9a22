//go:build race

package plugin

// testMemory has room for the shadow that the race detector keeps.
const testMemory = 1 << 46
