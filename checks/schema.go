package checks

import (
	"errors"
	"fmt"
	"maps"
	"math"
	"slices"
	"strings"
	"time"
)

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

// Takes says in words what may be given: "int, 1 to 20", "string: udp, tcp".
func (o Option) Takes() string {
	switch {
	case len(o.Enum) > 0:
		return o.Type + ": " + strings.Join(o.Enum, ", ")
	case o.Min != nil && o.Max != nil:
		return fmt.Sprintf("%s, %s to %s", o.Type, o.bound(*o.Min), o.bound(*o.Max))
	case o.Min != nil:
		return fmt.Sprintf("%s, %s or more", o.Type, o.bound(*o.Min))
	case o.Max != nil:
		return fmt.Sprintf("%s, %s at most", o.Type, o.bound(*o.Max))
	}
	return o.Type
}

// bound is Min or Max as it would be written.
func (o Option) bound(f float64) string {
	if o.Type == "duration" {
		return time.Duration(f * float64(time.Second)).String()
	}
	return fmt.Sprint(int64(f))
}

// OptionError is a fault of one option.
type OptionError struct {
	Option string
	Err    error
	Hint   string // what to do; may be empty
}

func (e *OptionError) Error() string { return "options." + e.Option + ": " + e.Err.Error() }
func (e *OptionError) Unwrap() error { return e.Err }

// Resolve returns the options that a check works with: those given, each in the
// Go type of its option (string, int64, bool, time.Duration, []string), and the
// defaults of those not given. A duration may be given as text ("5s"), a list
// as []any. Resolving twice is the same as once. The error joins one
// *OptionError for each fault, sorted by name.
func (s Schema) Resolve(given map[string]any) (map[string]any, error) {
	out := make(map[string]any, len(s))
	var errs []error
	for _, name := range slices.Sorted(maps.Keys(given)) {
		o, ok := s[name]
		if !ok {
			errs = append(errs, s.unknown(name))
			continue
		}
		v, err := o.resolve(given[name])
		if err != nil {
			errs = append(errs, &OptionError{Option: name, Err: err, Hint: o.hint()})
			continue
		}
		out[name] = v
	}
	if len(errs) == 1 {
		return nil, errs[0]
	}
	if len(errs) > 1 {
		return nil, errors.Join(errs...)
	}
	for name, o := range s {
		if _, ok := out[name]; ok || o.Default == nil {
			continue
		}
		out[name], _ = o.resolve(o.Default) // checked when the kind was registered
	}
	return out, nil
}

// check says what is wrong with the schema itself.
func (s Schema) check() error {
	for name, o := range s {
		switch o.Type {
		case "string", "int", "bool", "duration", "strings":
		default:
			return fmt.Errorf("option %q: type %q is none of string, int, bool, duration, strings", name, o.Type)
		}
		if err := o.bounded(); err != nil {
			return fmt.Errorf("option %q: %w", name, err)
		}
		if o.Default == nil {
			continue
		}
		if _, err := o.resolve(o.Default); err != nil {
			return fmt.Errorf("option %q: default: %w", name, err)
		}
	}
	return nil
}

// bounded says what is wrong with the bounds.
func (o Option) bounded() error {
	for _, b := range []*float64{o.Min, o.Max} {
		if b != nil && (math.IsNaN(*b) || math.IsInf(*b, 0)) {
			return fmt.Errorf("a bound of %g is no number", *b)
		}
	}
	if o.Min != nil && o.Max != nil && *o.Min > *o.Max {
		return fmt.Errorf("nothing is between %g and %g", *o.Min, *o.Max)
	}
	return nil
}

func (s Schema) unknown(name string) error {
	e := &OptionError{Option: name, Err: errors.New("unknown option")}
	if near := nearest(name, slices.Sorted(maps.Keys(s))); near != "" {
		e.Hint = near
	} else if len(s) > 0 {
		e.Hint = "one of " + strings.Join(slices.Sorted(maps.Keys(s)), ", ")
	} else {
		e.Hint = "this kind has no options"
	}
	return e
}

// resolve turns v into the option's Go type and looks at its bounds.
func (o Option) resolve(v any) (any, error) {
	switch o.Type {
	case "string":
		if s, ok := v.(string); ok {
			return s, o.member(s)
		}
	case "bool":
		if b, ok := v.(bool); ok {
			return b, nil
		}
	case "int":
		if n, ok := integer(v); ok {
			return n, o.within(float64(n), fmt.Sprint(n))
		}
	case "duration":
		d, ok, err := duration(v)
		if err != nil {
			return nil, err
		}
		if ok {
			return d, o.within(d.Seconds(), d.String())
		}
	case "strings":
		if list, ok := texts(v); ok {
			for _, s := range list {
				if err := o.member(s); err != nil {
					return nil, err
				}
			}
			return list, nil
		}
	}
	return nil, fmt.Errorf("%v (%s) is not %s", v, kindOf(v), article[o.Type])
}

var article = map[string]string{
	"string": "a string", "int": "a whole number", "bool": "true or false",
	"duration": `a duration like "5s"`, "strings": "a list of strings",
}

func (o Option) hint() string {
	if len(o.Enum) > 0 {
		return "one of " + strings.Join(o.Enum, ", ")
	}
	return o.Doc
}

func (o Option) member(s string) error {
	if len(o.Enum) == 0 || slices.Contains(o.Enum, s) {
		return nil
	}
	return fmt.Errorf("%q is none of %s", s, strings.Join(o.Enum, ", "))
}

func (o Option) within(v float64, shown string) error {
	if o.Min != nil && v < *o.Min {
		return fmt.Errorf("%s is less than %s", shown, o.bound(*o.Min))
	}
	if o.Max != nil && v > *o.Max {
		return fmt.Errorf("%s is more than %s", shown, o.bound(*o.Max))
	}
	return nil
}

func integer(v any) (int64, bool) {
	switch n := v.(type) {
	case int:
		return int64(n), true
	case int64:
		return n, true
	case float64: // JSON knows no other number
		if n == math.Trunc(n) && math.Abs(n) < 1<<53 {
			return int64(n), true
		}
	}
	return 0, false
}

func duration(v any) (d time.Duration, ok bool, err error) {
	switch d := v.(type) {
	case time.Duration:
		return d, true, nil
	case string:
		p, err := time.ParseDuration(d)
		if err != nil {
			return 0, false, fmt.Errorf("%q is not %s", d, article["duration"])
		}
		return p, true, nil
	}
	return 0, false, nil
}

func texts(v any) ([]string, bool) {
	switch list := v.(type) {
	case []string:
		return slices.Clone(list), true
	case []any:
		out := make([]string, len(list))
		for i, e := range list {
			s, ok := e.(string)
			if !ok {
				return nil, false
			}
			out[i] = s
		}
		return out, true
	}
	return nil, false
}

func kindOf(v any) string {
	switch v.(type) {
	case string:
		return "a string"
	case bool:
		return "a boolean"
	case int, int64:
		return "a whole number"
	case float64:
		return "a number"
	case []any, []string:
		return "a list"
	case map[string]any:
		return "a table"
	}
	return fmt.Sprintf("%T", v)
}
