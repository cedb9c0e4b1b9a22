package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/ginnel/ginnel/checks"
	"github.com/ginnel/ginnel/checks/checktest"
	"github.com/ginnel/ginnel/checks/plugin"
	"github.com/ginnel/ginnel/cmd/internal/cli"
)

// pluginVerify holds a program to what every check must be.
func pluginVerify(ctx context.Context, std cli.IO, args []string) error {
	f := cli.Flags()
	good, refusing, silent := f.String("good", "", ""), f.String("refusing", "", ""), f.String("silent", "", "")
	only := f.String("kind", "", "")
	options := map[string]any{}
	f.Func("option", "", func(s string) error {
		name, value, ok := strings.Cut(s, "=")
		if !ok {
			return fmt.Errorf("%q is not NAME=VALUE", s)
		}
		options[name] = value
		return nil
	})
	words, err := cli.Parse(f, args, 1, 1)
	if err != nil {
		return err
	}
	o := plugin.Options{Owner: uint32(os.Getuid()), Log: slog.New(&said{w: std.Err})}
	offer, err := plugin.Inspect(words[0], o)
	if err != nil {
		return hintFile(err)
	}
	kinds, end, err := plugin.Try(ctx, offer, o)
	if err != nil {
		return hintFile(err)
	}
	defer end()
	chosen, err := kindsNamed(kinds, *only)
	if err != nil {
		return err
	}
	passed := true
	for _, k := range chosen {
		passed = verifyKind(ctx, std, k, targets{*good, *refusing, *silent}, options) && passed
	}
	if !passed {
		return &cli.Exit{Code: 1}
	}
	if offer.Kind == "" {
		fmt.Fprintf(std.Out, "\nto offer it, as root, in /etc/ginnel/checks.d/%s.toml:\n\n%s", kinds[0].Name, offer.Text(kinds[0].Name))
	}
	return nil
}

// kindsNamed are those of a name, or without one all.
func kindsNamed(kinds []checks.Kind, name string) ([]checks.Kind, error) {
	if name == "" {
		return kinds, nil
	}
	var has []string
	for _, k := range kinds {
		if k.Name == name {
			return []checks.Kind{k}, nil
		}
		has = append(has, k.Name)
	}
	return nil, cli.WithHint(fmt.Errorf("--kind %q: the program has no such kind", name), "it has "+strings.Join(has, ", "))
}

// targets of the suite; empty: there is none.
type targets struct{ good, refusing, silent string }

// verifyKind prints what the suite found of a kind, and reports whether it is
// what it must be.
func verifyKind(ctx context.Context, std cli.IO, k checks.Kind, at targets, given map[string]any) bool {
	fmt.Fprintf(std.Out, "kind %s: %s\n", k.Name, k.Doc)
	printSchema(std, k.Schema, "  ")
	options, err := typed(k.Schema, given)
	if err == nil {
		_, err = k.Schema.Resolve(options)
	}
	if err != nil {
		fmt.Fprintf(std.Out, "  FAIL  %s\n", strings.ReplaceAll(err.Error(), "\n", "\n        "))
		return false
	}
	target := func(address string) *checks.Target {
		if address == "" {
			return nil
		}
		return &checks.Target{Address: address, Options: options}
	}
	s := checktest.Subject{Kind: k, Good: checks.Target{Address: at.good, Options: options}, NoGood: at.good == "",
		Refusing: target(at.refusing), Silent: target(at.silent)}
	if !s.NoGood {
		s.Timed = timed(ctx, k, s.Good)
	}
	passed := true
	left := checktest.Hold(ctx, s, func(part string, faults []string) {
		if len(faults) == 0 {
			fmt.Fprintf(std.Out, "  ok    %s\n", part)
			return
		}
		passed = false
		fmt.Fprintf(std.Out, "  FAIL  %s\n", part)
		for _, fault := range faults {
			fmt.Fprintf(std.Out, "        %s\n", cli.Wrap(fault, cli.Width-8, "        "))
		}
	})
	for _, part := range left {
		fmt.Fprintf(std.Out, "  -     not tried: %s: needs a --good that is good\n", part)
	}
	for _, t := range [][2]string{{"--good", at.good}, {"--refusing", at.refusing}, {"--silent", at.silent}} {
		if t[1] == "" {
			fmt.Fprintf(std.Out, "  -     not tried: needs %s\n", t[0])
		}
	}
	return passed
}

// timed looks whether a good run takes times: then all must.
func timed(ctx context.Context, k checks.Kind, good checks.Target) bool {
	good.Timeout = 5 * time.Second
	c, err := k.Make(good)
	if err != nil {
		return false
	}
	ctx, cancel := context.WithTimeout(ctx, good.Timeout)
	defer cancel()
	return len(c.Run(ctx).RTT) > 0
}

// typed gives options of the command line the types of a schema.
func typed(schema checks.Schema, given map[string]any) (map[string]any, error) {
	out := map[string]any{}
	for name, v := range given {
		text := v.(string)
		switch schema[name].Type {
		case "int":
			n, err := strconv.ParseInt(text, 10, 64)
			if err != nil {
				return nil, fmt.Errorf("%s: %q is not a number", name, text)
			}
			out[name] = n
		case "bool":
			b, err := strconv.ParseBool(text)
			if err != nil {
				return nil, fmt.Errorf("%s: %q is not true or false", name, text)
			}
			out[name] = b
		case "strings":
			out[name] = strings.Split(text, ",")
		default: // text, a duration, or an option that there is not
			out[name] = text
		}
	}
	return out, nil
}

// printSchema prints options, what they take, and what they are.
func printSchema(std cli.IO, schema checks.Schema, margin string) {
	inner := margin + "    "
	for _, name := range slices.Sorted(maps.Keys(schema)) {
		o := schema[name]
		head := name + ", " + o.Takes()
		if o.Default != nil {
			head += "; " + defaultOf(o) + " unless given"
		}
		fmt.Fprintf(std.Out, "%s%s\n%s%s\n", margin, cli.Wrap(head, cli.Width-len(inner), inner), inner, cli.Wrap(o.Doc, cli.Width-len(inner), inner))
	}
	if len(schema) == 0 {
		fmt.Fprintf(std.Out, "%sno options\n", margin)
	}
}

// defaultOf is an option's default as a config has it, without quotes.
func defaultOf(o checks.Option) string {
	if list, ok := o.Default.([]string); ok {
		return strings.Join(list, ", ")
	}
	return fmt.Sprint(o.Default)
}

// hintFile says what to do about a file that was not used.
func hintFile(err error) error {
	if f, ok := errors.AsType[*plugin.FileError](err); ok && f.Hint != "" {
		return cli.WithHint(err, f.Hint)
	}
	return advise(err)
}
