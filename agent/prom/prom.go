// Package prom writes the Prometheus text format, version 0.0.4. By hand: ours
// are some gauges and counters, and the client library would bring forty times
// this much code.
package prom

import (
	"bytes"
	"fmt"
	"strconv"
	"strings"
)

// ContentType is that of what Text writes.
const ContentType = "text/plain; version=0.0.4; charset=utf-8"

// Text is metrics in the making. The zero Text is empty.
type Text struct {
	bytes.Buffer
	name string
}

// Family begins a metric: kind is gauge, counter or summary; only a
// summary has a label "quantile".
func (t *Text) Family(name, kind, help string) {
	t.name = name
	fmt.Fprintf(t, "# HELP %s %s\n# TYPE %s %s\n", name, help, name, kind)
}

var escape = strings.NewReplacer(`\`, `\\`, `"`, `\"`, "\n", `\n`)

// Sample writes one value of the Family; labels are names and values in turn.
// One whose value is empty is left out, which is the same to Prometheus.
func (t *Text) Sample(value float64, labels ...string) {
	t.WriteString(t.name)
	sep := byte('{')
	for i := 0; i < len(labels); i += 2 {
		if labels[i+1] == "" {
			continue
		}
		t.WriteByte(sep)
		fmt.Fprintf(t, `%s="%s"`, labels[i], escape.Replace(labels[i+1]))
		sep = ','
	}
	if sep == ',' {
		t.WriteByte('}')
	}
	t.WriteByte(' ')
	t.WriteString(strconv.FormatFloat(value, 'g', -1, 64))
	t.WriteByte('\n')
}

// Bool is 1 or 0.
func Bool(b bool) float64 {
	if b {
		return 1
	}
	return 0
}
