package main

import (
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"slices"
	"time"

	"github.com/ginnel/ginnel/agent/block"
	"github.com/ginnel/ginnel/checks"
)

// writeJSON writes v as people and scripts read it.
func writeJSON(w io.Writer, v any) error {
	enc := json.NewEncoder(w)
	enc.SetIndent("", "  ")
	return enc.Encode(v)
}

// kindJSON is a kind of checks with names for scripts.
type kindJSON struct {
	Kind           string                 `json:"kind"`
	Doc            string                 `json:"doc"`
	LeastInterval  float64                `json:"least_interval_seconds,omitempty"`
	NeedsAgreement bool                   `json:"needs_agreement,omitempty"`
	Options        []optionJSON           `json:"options"`
	Program        *block.ProgramSnapshot `json:"program,omitempty"`
}

type optionJSON struct {
	Name    string   `json:"name"`
	Type    string   `json:"type"`
	Doc     string   `json:"doc"`
	Default any      `json:"default,omitempty"` // a duration as text, "300ms"
	Choices []string `json:"choices,omitempty"`
	Min     *float64 `json:"min,omitempty"` // of a duration in seconds
	Max     *float64 `json:"max,omitempty"`
}

func jsonOf(k checks.Kind) kindJSON {
	out := kindJSON{Kind: k.Name, Doc: k.Doc, LeastInterval: k.Least.Seconds(), NeedsAgreement: k.NeedsAgreement, Options: []optionJSON{}}
	for _, name := range slices.Sorted(maps.Keys(k.Schema)) {
		o := k.Schema[name]
		if d, ok := o.Default.(time.Duration); ok {
			o.Default = fmt.Sprint(d)
		}
		out.Options = append(out.Options, optionJSON{name, o.Type, o.Doc, o.Default, o.Enum, o.Min, o.Max})
	}
	return out
}
