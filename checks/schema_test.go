package checks

import (
	"errors"
	"fmt"
	"math"
	"reflect"
	"testing"
	"time"
)

var testSchema = Schema{
	"server_name": {Type: "string", Doc: "the name to ask for"},
	"protocol":    {Type: "string", Default: "udp", Enum: []string{"udp", "tcp"}},
	"count":       {Type: "int", Default: 3, Min: new(1.0), Max: new(20.0)},
	"verify":      {Type: "bool", Default: true},
	"gap":         {Type: "duration", Default: "50ms", Min: new(0.01), Max: new(1.0)},
	"limit":       {Type: "int", Max: new(float64(4 << 20))},
	"expect":      {Type: "strings"},
}

func TestResolve(t *testing.T) {
	defaults := map[string]any{"protocol": "udp", "count": int64(3), "verify": true, "gap": 50 * time.Millisecond}
	for _, test := range []struct {
		given map[string]any
		want  map[string]any
		err   string
		hint  string
	}{
		{given: nil, want: defaults},
		{given: map[string]any{"protocol": "tcp", "count": 5.0, "verify": false, "gap": "1s", "expect": []any{"a", "b"}, "server_name": "x"},
			want: map[string]any{"protocol": "tcp", "count": int64(5), "verify": false, "gap": time.Second, "expect": []string{"a", "b"}, "server_name": "x"}},
		{given: map[string]any{"protocl": "udp"}, err: "options.protocl: unknown option", hint: "protocol"},
		{given: map[string]any{"zzz": "udp"}, err: "options.zzz: unknown option", hint: "one of count, expect, gap, limit, protocol, server_name, verify"},
		{given: map[string]any{"count": "3"}, err: "options.count: 3 (a string) is not a whole number"},
		{given: map[string]any{"count": 2.5}, err: "options.count: 2.5 (a number) is not a whole number"},
		{given: map[string]any{"count": int64(0)}, err: "options.count: 0 is less than 1"},
		{given: map[string]any{"count": 21}, err: "options.count: 21 is more than 20"},
		{given: map[string]any{"verify": "yes"}, err: "options.verify: yes (a string) is not true or false"},
		{given: map[string]any{"gap": int64(5)}, err: `options.gap: 5 (a whole number) is not a duration like "5s"`},
		{given: map[string]any{"gap": "5"}, err: `options.gap: "5" is not a duration like "5s"`},
		{given: map[string]any{"gap": "2s"}, err: "options.gap: 2s is more than 1s"},
		{given: map[string]any{"gap": "5ms"}, err: "options.gap: 5ms is less than 10ms"},
		{given: map[string]any{"limit": int64(5_000_000)}, err: "options.limit: 5000000 is more than 4194304"},
		{given: map[string]any{"protocol": "sctp"}, err: `options.protocol: "sctp" is none of udp, tcp`, hint: "one of udp, tcp"},
		{given: map[string]any{"server_name": true}, err: "options.server_name: true (a boolean) is not a string", hint: "the name to ask for"},
		{given: map[string]any{"expect": []any{"a", 1}}, err: "options.expect: [a 1] (a list) is not a list of strings"},
		{given: map[string]any{"verify": 1, "count": map[string]any{}},
			err: "options.count: map[] (a table) is not a whole number\noptions.verify: 1 (a whole number) is not true or false"},
	} {
		t.Run(fmt.Sprint(test.given), func(t *testing.T) {
			got, err := testSchema.Resolve(test.given)
			if err != nil {
				e, ok := errors.AsType[*OptionError](err)
				if err.Error() != test.err || !ok || test.hint != "" && e.Hint != test.hint {
					t.Errorf("got %q, hint %q; want %q, hint %q", err, e.Hint, test.err, test.hint)
				}
				return
			}
			if test.err != "" || !reflect.DeepEqual(got, test.want) {
				t.Errorf("got %v, want %v, %q", got, test.want, test.err)
			}
			if again, err := testSchema.Resolve(got); err != nil || !reflect.DeepEqual(again, got) {
				t.Errorf("resolved again: %v, %v", again, err)
			}
		})
	}
}

func TestRegistry(t *testing.T) {
	r, err := NewRegistry(testKind("tcp", wellAfter(0)), testKind("dns", wellAfter(0)))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := r.With(testKind("tcp", nil), testKind("tcp", nil)); err == nil {
		t.Error("two kinds of one name were taken")
	}
	if _, err := NewRegistry(Kind{Name: "empty"}); err == nil {
		t.Error("a kind that makes nothing was taken")
	}
	for what, bounds := range map[string]Option{
		"no number": {Type: "int", Min: new(math.NaN())},
		"no end":    {Type: "int", Max: new(math.Inf(1))},
		"crossed":   {Type: "int", Min: new(2.0), Max: new(1.0)},
	} {
		if _, err := NewRegistry(Kind{Name: "x", New: testKind("x", nil).New, Schema: Schema{"a": bounds}}); err == nil {
			t.Errorf("bounds of %s are taken", what)
		}
	}
	if _, err := NewRegistry(Kind{Name: "x", New: testKind("x", nil).New, Schema: Schema{"a": {Type: "int", Default: "b"}}}); err == nil {
		t.Error("a default of a wrong type was taken")
	}
	more, err := r.With(testKind("exec", wellAfter(0)))
	if err != nil {
		t.Fatal(err)
	}
	if _, ok := r.Lookup("exec"); ok || len(r.Kinds()) != 2 {
		t.Error("With changed its receiver")
	}
	var names []string
	for _, k := range more.Kinds() {
		names = append(names, k.Name)
	}
	if want := []string{"dns", "exec", "tcp"}; !reflect.DeepEqual(names, want) {
		t.Errorf("kinds %v, want %v", names, want)
	}
	if err := r.Validate(Spec{Kind: "exec"}); !errors.Is(err, ErrNoKind) {
		t.Errorf("got %v", err)
	}
	if err := r.Validate(Spec{Kind: "tcp"}); err != nil {
		t.Error(err)
	}
}

func TestTargetGivesOptions(t *testing.T) {
	options, err := testSchema.Resolve(map[string]any{"expect": []any{"a"}})
	if err != nil {
		t.Fatal(err)
	}
	got := Target{Options: options}
	if got.StringOption("protocol") != "udp" || got.IntOption("count") != 3 || !got.BoolOption("verify") ||
		got.DurationOption("gap") != 50*time.Millisecond || len(got.StringsOption("expect")) != 1 || got.StringOption("server_name") != "" {
		t.Errorf("got %+v", got)
	}
}

func TestTakes(t *testing.T) {
	for want, o := range map[string]Option{
		"int":                    {Type: "int"},
		"int, 1 to 4194304":      {Type: "int", Min: new(1.0), Max: new(float64(4 << 20))},
		"int, 1 or more":         {Type: "int", Min: new(1.0)},
		"int, 20 at most":        {Type: "int", Max: new(20.0)},
		"duration, 50ms to 1m0s": {Type: "duration", Min: new(0.05), Max: new(60.0)},
		"string: udp, tcp":       {Type: "string", Enum: []string{"udp", "tcp"}},
	} {
		if got := o.Takes(); got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
}
