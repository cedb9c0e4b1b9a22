package vm_test

import (
	"encoding/json"
	"math"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
)

// row is a line of build/scenarios.json and build/bench.json.
type row struct {
	Name   string   `json:"name"`
	Value  float64  `json:"value"`
	Unit   string   `json:"unit"`
	Beside *float64 `json:"beside"` // what it is compared with
	Ratio  *float64 `json:"ratio"`
	Aim    string   `json:"aim"`
	Met    bool     `json:"met"`
	Form   string   `json:"form"` // "full" or "short", and what is special
	Detail string   `json:"detail"`
}

// rowOf is the row of a step that says yes or no, or that counted what was lost.
func rowOf(prefix, name, value string, err error) row {
	r := row{Name: prefix + name, Value: 1, Unit: "true", Aim: "1", Met: err == nil, Form: "full", Detail: value}
	if strings.HasPrefix(name, "packets lost") {
		r.Value, r.Unit, r.Aim = 0, "packets", "0"
	}
	if err != nil {
		r.Value, r.Detail = -1, err.Error()
	}
	return r
}

// rowsFile names the environment's word for the file that rows are added to;
// without it they are printed only.
const rowsFile = "GINNEL_ROWS"

// named are older rows whose names begin with a prefix.
func named(prefix string) func(row) bool {
	return func(r row) bool { return strings.HasPrefix(r.Name, prefix) }
}

// files keeps tests that run side by side from losing each other's rows.
var files sync.Mutex

// keep puts the rows into the file, in place of those that are old.
func keep(t testing.TB, rows []row, old func(row) bool) {
	path := os.Getenv(rowsFile)
	if path == "" {
		return
	}
	files.Lock()
	defer files.Unlock()
	var all []row
	text, err := os.ReadFile(path)
	if err == nil {
		err = json.Unmarshal(text, &all)
	}
	if err != nil && !os.IsNotExist(err) {
		t.Fatalf("read %s: %v", path, err)
	}
	all = slices.DeleteFunc(all, old)
	text, err = json.MarshalIndent(append(all, rows...), "", "  ")
	if err == nil {
		err = os.WriteFile(path, append(text, '\n'), 0o644)
	}
	if err != nil {
		t.Fatal(err)
	}
}

// spread is the median of values, and the interval that holds the true median
// with at least 95 %, by ranks.
type spread struct{ Median, Low, High float64 }

func spreadOf(values []float64) spread {
	v := slices.Sorted(slices.Values(values))
	n := len(v)
	// How many may be left out at each end: the largest k with
	// P(Binomial(n, 1/2) < k) <= 2.5 %.
	k, sum, p := 0, 0.0, math.Pow(0.5, float64(n))
	for sum+p <= 0.025 {
		sum += p
		p *= float64(n-k) / float64(k+1)
		k++
	}
	return spread{(v[(n-1)/2] + v[n/2]) / 2, v[k], v[n-1-k]}
}
