package checks

// Kind makes checks of one sort. Its zero value is not valid.
type Kind struct {
	Name   string // "tcp"
	Doc    string // one line
	Schema Schema // of [check.options]
	// New makes a check, or says what is wrong with the target or options:
	// an *OptionError where one option is at fault.
	New func(Target) (Check, error)
	// Close ends what the kind keeps running for its checks; nil: nothing.
	Close func() error
}

// Schema describes options by name.
type Schema map[string]Option

// Option is one option of a kind.
type Option struct {
	Type    string // "string", "int", "bool", "duration", "strings"
	Doc     string // one line, with the unit
	Default any    // nil: none
	Enum    []string
	Min     *float64 // of an int, or of a duration in seconds
	Max     *float64
}

// OptionError is a fault of one option.
type OptionError struct {
	Option string
	Err    error
	Hint   string
}

func (e *OptionError) Error() string { return "options." + e.Option + ": " + e.Err.Error() }
func (e *OptionError) Unwrap() error { return e.Err }
