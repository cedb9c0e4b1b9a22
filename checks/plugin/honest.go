package plugin

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"google.golang.org/protobuf/proto"

	"github.com/ginnel/ginnel/checks"
	pb "github.com/ginnel/ginnel/checks/plugin/proto"
)

// The most that a program may say of itself.
const (
	kindsMost   = 32
	optionsMost = 64
	enumMost    = 256
	docMost     = 500 // bytes
)

// honest takes what a program says of itself, by kind, or says what is wrong
// with it.
func honest(d *pb.DescribeResponse) (map[string]*pb.Kind, error) {
	if n := len(d.GetKinds()); n == 0 || n > kindsMost {
		return nil, &lie{fmt.Sprintf("says that it has %d kinds; 1 to %d are possible", n, kindsMost)}
	}
	kinds := make(map[string]*pb.Kind, len(d.GetKinds()))
	for _, k := range d.GetKinds() {
		if kinds[k.GetName()] != nil {
			return nil, &lie{fmt.Sprintf("has kind %q twice", k.GetName())}
		}
		kinds[k.GetName()] = k
		if err := bounded(k); err != nil {
			return nil, &lie{fmt.Sprintf("kind %.40q: %v", k.GetName(), err)}
		}
	}
	return kinds, nil
}

// bounded says what is wrong with a kind.
func bounded(k *pb.Kind) error {
	if !word(k.GetName()) {
		return fmt.Errorf("the name is no word of small letters, digits, - and _")
	}
	if err := oneDoc(k.GetDoc()); err != nil {
		return err
	}
	if n := len(k.GetSchema()); n > optionsMost {
		return fmt.Errorf("has %d options; %d is the most", n, optionsMost)
	}
	for _, name := range slices.Sorted(maps.Keys(k.GetSchema())) {
		o := k.GetSchema()[name]
		if !word(name) {
			return fmt.Errorf("option %.40q: the name is no word of small letters, digits, - and _", name)
		}
		if err := oneDoc(o.GetDoc()); err != nil {
			return fmt.Errorf("option %q: %w", name, err)
		}
		if n := len(o.GetEnum()); n > enumMost || len(strings.Join(o.GetEnum(), "")) > enumMost*docMost {
			return fmt.Errorf("option %q: has %d values to choose from; %d is the most", name, n, enumMost)
		}
	}
	if _, err := checks.NewRegistry(checks.Kind{Name: k.GetName(), Schema: fromSchema(k.GetSchema()),
		New: func(checks.Target) (checks.Check, error) { return nil, nil }}); err != nil {
		return errors.Unwrap(err) // it begins with the kind
	}
	return nil
}

// word reports whether a text can be a name in a config.
func word(s string) bool {
	return s != "" && len(s) <= 40 && strings.Trim(s, "abcdefghijklmnopqrstuvwxyz0123456789-_") == ""
}

func oneDoc(s string) error {
	if len(s) > docMost || strings.ContainsAny(s, "\n\r\x1b\x00") {
		return fmt.Errorf("its doc is not one line of at most %d bytes", docMost)
	}
	return nil
}

// sameKinds holds a program to what it said at its first start.
func sameKinds(before, now map[string]*pb.Kind) error {
	for _, name := range slices.Sorted(maps.Keys(before)) {
		if now[name] == nil {
			return &lie{fmt.Sprintf("had kind %q when it was first started and has it no more", name)}
		}
		if !proto.Equal(before[name], now[name]) {
			return &lie{fmt.Sprintf("kind %q: its options are not what they were when it was first started", name)}
		}
	}
	return nil
}
