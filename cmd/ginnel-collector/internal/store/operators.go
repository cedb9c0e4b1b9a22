package store

import (
	"context"
	"time"
)

// Operators keeps who may use pages and API, and whose each network is.
type Operators interface {
	// AddOperator records an operator with the certificate that counts from
	// now on. One that is there and was not removed gets ErrUsed.
	AddOperator(ctx context.Context, o Operator, acts ...Event) error
	// RemoveOperator makes the certificate void. ErrNotFound: there is none
	// of that name, or it is removed already.
	RemoveOperator(ctx context.Context, name string, at time.Time, acts ...Event) error
	// Operators gives all that were not removed, by name.
	Operators(ctx context.Context) ([]Operator, error)
	// Operator gives one that was not removed, or ErrNotFound.
	Operator(ctx context.Context, name string) (Operator, error)

	// Organisations says whose each network is.
	Organisations(ctx context.Context) (map[string]string, error)
	// SetOrganisations sets those of the networks named, and leaves others.
	SetOrganisations(ctx context.Context, of map[string]string, acts ...Event) error
}

// Operator is a person, or a program of theirs, at a desk.
type Operator struct {
	Name         string
	Organisation string // empty: all
	Serial       string // of the certificate, in hex
	Added        time.Time
	Expires      time.Time
}
