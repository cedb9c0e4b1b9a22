package proto_test

import (
	"flag"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"

	"google.golang.org/protobuf/reflect/protoreflect"

	pb "github.com/ginnel/ginnel/checks/plugin/proto"
)

var update = flag.Bool("update", false, "add what is new to the golden file; what is in it stays")

const golden = "testdata/v1.golden"

// TestReleasedNeverChanges holds the .proto to what it was: plugins that were
// built with an earlier one go on working, so it may gain optional fields and
// loses, renumbers or retypes nothing.
func TestReleasedNeverChanges(t *testing.T) {
	b, err := os.ReadFile(golden)
	if err != nil && !*update {
		t.Fatal(err)
	}
	released := strings.FieldsFunc(string(b), func(r rune) bool { return r == '\n' })
	now := describe(pb.File_checks_proto)
	for _, line := range released {
		if !slices.Contains(now, line) {
			t.Errorf("was released and is gone, or has changed: %s", line)
		}
	}
	for _, line := range now {
		if slices.Contains(released, line) {
			continue
		}
		if !*update {
			t.Errorf("is new and not in %s (go test ./checks/plugin/proto -update): %s", golden, line)
		}
		released = append(released, line)
	}
	slices.Sort(released)
	if len(released) < 40 {
		t.Errorf("%d lines only", len(released))
	}
	if *update {
		if err := os.WriteFile(golden, []byte(strings.Join(released, "\n")+"\n"), 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

// describe lists all that the wire depends on, one thing a line.
func describe(f protoreflect.FileDescriptor) (lines []string) {
	for i := range f.Services().Len() {
		s := f.Services().Get(i)
		for j := range s.Methods().Len() {
			m := s.Methods().Get(j)
			lines = append(lines, fmt.Sprintf("rpc %s(%s stream=%v) %s stream=%v", m.FullName(), m.Input().Name(), m.IsStreamingClient(),
				m.Output().Name(), m.IsStreamingServer()))
		}
	}
	for i := range f.Messages().Len() {
		lines = append(lines, fieldsOf(f.Messages().Get(i))...)
	}
	slices.Sort(lines)
	return lines
}

func fieldsOf(m protoreflect.MessageDescriptor) (lines []string) {
	for i := range m.Fields().Len() {
		f := m.Fields().Get(i)
		kind := f.Kind().String()
		if f.Message() != nil {
			kind = string(f.Message().Name())
		}
		in := ""
		if o := f.ContainingOneof(); o != nil && !o.IsSynthetic() {
			in = " oneof " + string(o.Name())
		}
		lines = append(lines, fmt.Sprintf("field %s = %d %s %s presence=%v%s", f.FullName(), f.Number(), f.Cardinality(), kind, f.HasPresence(), in))
	}
	for i := range m.Messages().Len() {
		lines = append(lines, fieldsOf(m.Messages().Get(i))...)
	}
	return lines
}
