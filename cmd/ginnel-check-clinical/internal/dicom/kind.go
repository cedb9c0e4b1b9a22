// Package dicom asks a DICOM node for an echo (C-ECHO, PS3.7 9.1.5): whether it
// takes an association with us, and answers in it. It asks for the Verification
// SOP class and nothing else, so there is nothing that it could read or store.
package dicom

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/ginnel/ginnel/checks"
	"github.com/ginnel/ginnel/checks/reach"
)

// usualPort is the registered one of DICOM; systems set up by hand often have
// 104.
const usualPort = 11112

// Kind is the kind "dicom".
func Kind() checks.Kind {
	schema := reach.TrustOptions()
	schema["called"] = checks.Option{Type: "string", Doc: "the AE title of the system that is asked; needed"}
	schema["calling"] = checks.Option{Type: "string", Doc: "our AE title, as the system's owner has entered it", Default: "GINNEL"}
	schema["tls"] = checks.Option{Type: "bool", Doc: "speak TLS", Default: false}
	return checks.Kind{
		Name:   "dicom",
		Doc:    "asks a DICOM node at host:port for an echo; the written agreement of its owner comes first",
		Schema: schema,
		Least:  time.Minute, // small modalities have room for few associations
		New:    newCheck,

		NeedsAgreement: true,
	}
}

func newCheck(t checks.Target) (checks.Check, error) {
	p, err := reach.ParsePlace(t.Address, usualPort)
	if err != nil {
		return nil, err
	}
	e := &echo{target: t, place: p, called: t.StringOption("called"), calling: t.StringOption("calling")}
	if e.called == "" {
		return nil, &checks.OptionError{Option: "called", Err: errors.New("not given"), Hint: "the system's AE title; its owner knows it"}
	}
	for _, o := range []string{"called", "calling"} {
		if err := validTitle(t.StringOption(o)); err != nil {
			return nil, &checks.OptionError{Option: o, Err: err}
		}
	}
	if t.BoolOption("tls") {
		trust, err := reach.TrustOf(t, p.Host)
		if err != nil {
			return nil, err
		}
		e.trust = &trust
	}
	return e, nil
}

// validTitle says what keeps s from being an AE title: 1 to 16 characters of
// ASCII, no backslash, not only spaces (PS3.5 6.2).
func validTitle(s string) error {
	switch {
	case strings.TrimSpace(s) == "":
		return errors.New("an AE title is not empty")
	case len(s) > titleSize:
		return fmt.Errorf("%q has %d characters, an AE title at most %d", s, len(s), titleSize)
	case strings.ContainsFunc(s, func(r rune) bool { return r < ' ' || r > '~' || r == '\\' }):
		return fmt.Errorf("%q: an AE title is of ASCII, without a backslash", s)
	}
	return nil
}

// echo is one check.
type echo struct {
	target          checks.Target
	place           reach.Place
	called, calling string
	trust           *reach.Trust // nil: no TLS
	program         string       // that answered the last time; empty: not known
}

// Run implements checks.Check.
func (e *echo) Run(ctx context.Context) checks.Result { return (&run{echo: e}).do(ctx) }
