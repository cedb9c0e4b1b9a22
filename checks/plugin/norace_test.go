//go:build !race

package plugin

const testMemory = 0 // childMemory
