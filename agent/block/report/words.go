package report

import (
	"cmp"
	"encoding/json"
	"fmt"
	"io"

	"github.com/ginnel/ginnel/agent/block"
	"github.com/ginnel/ginnel/checks"
)

const downState = checks.Down

// steps says a reason in words where nobody said it better.
var steps = map[checks.Reason]string{
	checks.Timeout:     "no answer in time",
	checks.Refused:     "the other side refused",
	checks.Unreachable: "no way there",
	checks.NotResolved: "the name was not found",
	checks.Certificate: "the certificate is not good",
	checks.Protocol:    "the answer was not one",
	checks.Assertion:   "not the answer wanted",
	checks.Slow:        "too slow",
	checks.Loss:        "answers were missing",
	checks.NoHandshake: "the hub did not answer",
	checks.Blocked:     "what it needs is down",
}

func step(c block.Cause) string {
	return cmp.Or(c.Text, steps[c.Reason], string(c.Reason), "not known")
}

// JSON writes the report as indented JSON with a line's end.
func (r *Report) JSON(w io.Writer) error {
	b, err := json.MarshalIndent(r, "", "  ")
	if err != nil {
		return fmt.Errorf("report of %s as JSON: %w", r.Site, err)
	}
	_, err = w.Write(append(b, '\n'))
	return err
}

// Parse reads what JSON wrote.
func Parse(b []byte) (*Report, error) {
	var r Report
	if err := json.Unmarshal(b, &r); err != nil {
		return nil, fmt.Errorf("reading report: %w", err)
	}
	return &r, nil
}
