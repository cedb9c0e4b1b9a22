// Package house has no code, only tests that guard the plan of the house: what
// may stand at the top level, and who may import whom.
package house
