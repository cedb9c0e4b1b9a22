// Package identity is who a gateway is to the collector: the site pack that
// lets it enrol once, the device key that is made on the gateway and never
// leaves it, and the certificate that the collector gave for that key.
//
// It reads and writes files and makes TLS configurations. It opens no socket:
// the enrolment itself is in agent/uplink.
package identity

import "errors"

// Errors that callers decide by.
var (
	ErrNotEnrolled = errors.New("not enrolled")
	ErrSpent       = errors.New("the site pack was used already")
	ErrPackExpired = errors.New("the site pack has expired")
)

// Fault is an error together with what a person can do about it.
type Fault struct {
	Err    error
	Advice string // one line, lower case; empty: none
}

func (f *Fault) Error() string { return f.Err.Error() }
func (f *Fault) Unwrap() error { return f.Err }

// Hint is what to do next.
func (f *Fault) Hint() string { return f.Advice }

func fault(err error, advice string) error { return &Fault{Err: err, Advice: advice} }
