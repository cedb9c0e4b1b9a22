//go:build !race

package plugin

const shadow = 0
