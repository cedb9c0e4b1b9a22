package fleet

// index finds things by name.
type index struct {
	gatewayAt map[string]int
}

// reading is a fleet that is being read.
type reading struct {
	fleet *Fleet
}

func (r *reading) files() error    { panic("next landing") }
func (r *reading) all()            { panic("next landing") }
func (r *reading) problems() error { panic("next landing") }

// sheet is a CSV file.
type sheet struct{}
