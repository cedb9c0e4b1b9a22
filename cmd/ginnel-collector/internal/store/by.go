package store

// By is who did something, and from where.
type By struct {
	Name string // of the operator
	From string // address, without a port; empty: the machine itself
}
