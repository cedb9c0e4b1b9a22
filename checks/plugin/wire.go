package plugin

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/ginnel/ginnel/checks"
	pb "github.com/ginnel/ginnel/checks/plugin/proto"
)

// toValue packs an option's value: the types that checks.Schema.Resolve gives,
// and those that a config may hold before.
func toValue(v any) (*pb.Value, error) {
	switch v := v.(type) {
	case string:
		if !utf8.ValidString(v) {
			return nil, errNotUTF8
		}
		return &pb.Value{Value: &pb.Value_Text{Text: v}}, nil
	case int:
		return &pb.Value{Value: &pb.Value_Integer{Integer: int64(v)}}, nil
	case int64:
		return &pb.Value{Value: &pb.Value_Integer{Integer: v}}, nil
	case float64:
		return &pb.Value{Value: &pb.Value_Number{Number: v}}, nil
	case bool:
		return &pb.Value{Value: &pb.Value_Boolean{Boolean: v}}, nil
	case time.Duration:
		return &pb.Value{Value: &pb.Value_DurationNs{DurationNs: int64(v)}}, nil
	case []string:
		if slices.ContainsFunc(v, func(s string) bool { return !utf8.ValidString(s) }) {
			return nil, errNotUTF8
		}
		return &pb.Value{Value: &pb.Value_Texts{Texts: &pb.Texts{Text: v}}}, nil
	case []any:
		list := make([]string, len(v))
		for i, e := range v {
			s, ok := e.(string)
			if !ok {
				return nil, fmt.Errorf("a list with %T in it is no value of an option", e)
			}
			list[i] = s
		}
		return toValue(list)
	}
	return nil, fmt.Errorf("%T is no value of an option", v)
}

// errNotUTF8 is about text that the wire does not carry.
var errNotUTF8 = errors.New("is not UTF-8")

// clean makes text of a plugin fit for the wire.
func clean(s string) string { return strings.ToValidUTF8(s, "?") }

// fromValue is nil for a value that is not set.
func fromValue(v *pb.Value) any {
	switch v := v.GetValue().(type) {
	case *pb.Value_Text:
		return v.Text
	case *pb.Value_Integer:
		return v.Integer
	case *pb.Value_Number:
		return v.Number
	case *pb.Value_Boolean:
		return v.Boolean
	case *pb.Value_DurationNs:
		return time.Duration(v.DurationNs)
	case *pb.Value_Texts:
		return v.Texts.GetText()
	}
	return nil
}

func toTarget(t checks.Target) (*pb.Target, error) {
	out := &pb.Target{Check: t.Check, Address: t.Address, Network: t.Network,
		TimeoutNs: int64(t.Timeout), Options: make(map[string]*pb.Value, len(t.Options))}
	if !utf8.ValidString(t.Address) {
		return nil, fmt.Errorf("target %q %w", t.Address, errNotUTF8)
	}
	for _, a := range t.Source {
		out.Source = append(out.Source, a.String())
	}
	for name, o := range t.Options {
		v, err := toValue(o)
		if err != nil {
			return nil, &checks.OptionError{Option: name, Err: err}
		}
		out.Options[name] = v
	}
	return out, nil
}

func fromTarget(t *pb.Target) (checks.Target, error) {
	out := checks.Target{Check: t.GetCheck(), Address: t.GetAddress(), Network: t.GetNetwork(),
		Timeout: time.Duration(t.GetTimeoutNs()), Options: make(map[string]any, len(t.GetOptions()))}
	for _, s := range t.GetSource() {
		a, err := netip.ParseAddr(s)
		if err != nil {
			return out, fmt.Errorf("source %q: %w", s, err)
		}
		out.Source = append(out.Source, a)
	}
	for name, v := range t.GetOptions() {
		out.Options[name] = fromValue(v)
	}
	return out, nil
}

func toKind(k checks.Kind) (*pb.Kind, error) {
	out := &pb.Kind{Name: k.Name, Doc: k.Doc, NeedsAgreement: k.NeedsAgreement,
		Schema: make(map[string]*pb.Option, len(k.Schema))}
	for name, o := range k.Schema {
		p := &pb.Option{Type: o.Type, Doc: o.Doc, Enum: o.Enum, Min: o.Min, Max: o.Max}
		if o.Default != nil {
			v, err := toValue(o.Default)
			if err != nil {
				return nil, fmt.Errorf("kind %q: option %q: default: %w", k.Name, name, err)
			}
			p.Default = v
		}
		out.Schema[name] = p
	}
	return out, nil
}

func fromSchema(schema map[string]*pb.Option) checks.Schema {
	out := make(checks.Schema, len(schema))
	for name, o := range schema {
		out[name] = checks.Option{Type: o.GetType(), Doc: o.GetDoc(), Default: fromValue(o.GetDefault()),
			Enum: o.GetEnum(), Min: o.Min, Max: o.Max}
	}
	return out
}

// toFaults takes an error of checks.Kind.Make apart.
func toFaults(err error) []*pb.Fault {
	if err == nil {
		return nil
	}
	if many, ok := err.(interface{ Unwrap() []error }); ok {
		var faults []*pb.Fault
		for _, e := range many.Unwrap() {
			faults = append(faults, toFaults(e)...)
		}
		return faults
	}
	if e, ok := errors.AsType[*checks.OptionError](err); ok {
		return []*pb.Fault{{Option: clean(e.Option), Message: clean(e.Err.Error()), Hint: clean(e.Hint)}}
	}
	return []*pb.Fault{{Message: clean(err.Error())}}
}

// fromFaults is the error that a built-in kind would have given.
func fromFaults(faults []*pb.Fault) error {
	var errs []error
	for _, f := range faults {
		err := errors.New(f.GetMessage())
		if f.GetOption() != "" {
			err = &checks.OptionError{Option: f.GetOption(), Err: err, Hint: f.GetHint()}
		}
		errs = append(errs, err)
	}
	if len(errs) == 1 {
		return errs[0]
	}
	return errors.Join(errs...)
}
