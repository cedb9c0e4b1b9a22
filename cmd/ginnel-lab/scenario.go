package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/ginnel/ginnel/cmd/ginnel-lab/internal/county"
	"github.com/ginnel/ginnel/cmd/ginnel-lab/internal/netns"
	"github.com/ginnel/ginnel/cmd/internal/cli"
)

// scenario is one story about a county, with figures.
type scenario struct {
	name  string
	about string
	run   func(ctx context.Context, s *stage) error
}

// stage is where a scenario plays: which form, on which back end, and where its
// rows go.
type stage struct {
	name   string
	short  bool
	kernel bool
	rows   []result
}

// result is a row of the table that `make scenarios` prints, and of
// scenarios.json.
type result struct {
	Name   string   `json:"name"`
	Value  float64  `json:"value"`
	Unit   string   `json:"unit"`
	Beside *float64 `json:"beside"` // what it is compared with
	Ratio  *float64 `json:"ratio"`
	Aim    string   `json:"aim"`
	Met    bool     `json:"met"`
	Form   string   `json:"form"` // "full" or "short"; with ", kernel" behind it on the kernel's WireGuard
	Detail string   `json:"detail"`
}

// form is the word for it in a row.
func (s *stage) form() string {
	form := pick(s, "full", "short")
	if s.kernel {
		form += ", kernel"
	}
	return form
}

// pick chooses a figure by form.
func pick[T any](s *stage, full, short T) T {
	if s.short {
		return short
	}
	return full
}

// pace is how often a ping asks that is to lose nothing. The kernel's back end is
// played under emulation, where a millisecond is hardly enough for a packet.
func (s *stage) pace() time.Duration {
	if s.kernel {
		return 10 * time.Millisecond
	}
	return time.Millisecond
}

// row adds one result and prints it.
func (s *stage) row(r result) {
	r.Name, r.Form = s.name+": "+r.Name, s.form()
	s.rows = append(s.rows, r)
	met := "met"
	if !r.Met {
		met = "NOT MET"
	}
	name := strings.TrimPrefix(r.Name, s.name+": ")
	fmt.Printf("  %-7s %8.4g %-8s aim %-7s  %s\n", met, r.Value, r.Unit, r.Aim, name)
	if r.Detail != "" {
		fmt.Printf("          %s\n", strings.ReplaceAll(r.Detail, "\n", "\n          "))
	}
}

// zero adds a row whose value should be 0.
func (s *stage) zero(name string, value int, unit, detail string) {
	s.row(result{Name: name, Value: float64(value), Unit: unit, Aim: "0", Met: value == 0, Detail: detail})
}

// holds adds a row that is true or not.
func (s *stage) holds(name string, ok bool, detail string) {
	value := 0.0
	if ok {
		value = 1
	}
	s.row(result{Name: name, Value: value, Unit: "true", Aim: "1", Met: ok, Detail: detail})
}

func scenarioCommand() cli.Command {
	return storyCommand("scenario", "play scenarios, each in a county of its own")
}

// storyCommand plays what do names, "scenario" or "bench"; without a name it
// lists them.
func storyCommand(do, short string) cli.Command {
	var names []string
	for _, sc := range (setup{Do: do}).stories() {
		names = append(names, fmt.Sprintf("  %-12s %s", sc.name, sc.about))
	}
	return cli.Command{
		Name: do, Args: "[--short] [--backend userspace|kernel] NAME...|all",
		Short: short,
		Long: strings.Join(names, "\n") + "\n\n--backend kernel has all gateways use the kernel's WireGuard, where there is one." +
			"\nGINNEL_LAB_SEED=N has crash kill at the points of an earlier run, which printed N.",
		Run: func(ctx context.Context, std cli.IO, args []string) error {
			fs := cli.Flags()
			short := fs.Bool("short", false, "")
			backend := fs.String("backend", county.Backend, "")
			words, err := cli.Parse(fs, args, 0, 100)
			if err != nil {
				return err
			}
			if len(words) == 0 {
				fmt.Fprintln(std.Out, strings.Join(names, "\n"))
				return nil
			}
			if *backend != "userspace" && *backend != "kernel" {
				return cli.Usagef("--backend %s: there are userspace and kernel", *backend)
			}
			out, err := outFolder()
			if err != nil {
				return err
			}
			if *backend == "kernel" {
				if err := enter(ctx, setup{Do: "kernel", Out: out}, nil, nil); err != nil {
					return err
				}
			}
			return playAll(ctx, setup{Do: do, Short: *short, Backend: *backend, Out: out}, words)
		},
	}
}

// playAll plays each scenario in a box of its own, and goes on after a failure.
func playAll(ctx context.Context, s setup, names []string) error {
	if slices.Equal(names, []string{"all"}) {
		names = nil
		for _, sc := range s.stories() {
			names = append(names, sc.name)
		}
	}
	var failed []string
	for _, name := range names {
		if !slices.ContainsFunc(s.stories(), func(sc scenario) bool { return sc.name == name }) {
			return cli.Usagef("no %s %q", s.Do, name)
		}
		s.Args = []string{name}
		err := enter(ctx, s, nil, nil)
		if exit := (*cli.Exit)(nil); err != nil && !errors.As(err, &exit) {
			return err
		}
		if err != nil {
			failed = append(failed, name)
		}
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
	}
	if len(failed) > 0 {
		return fmt.Errorf("not met: %s", strings.Join(failed, " "))
	}
	return nil
}

// stories are what set.Args name: scenarios, or benches.
func (set setup) stories() []scenario {
	if set.Do == "bench" {
		return benches
	}
	return scenarios
}

// file is where their rows go.
func (set setup) file() string {
	if set.Do == "bench" {
		return "bench.json"
	}
	return "scenarios.json"
}

// runScenarios is `scenario` inside the box.
func runScenarios(ctx context.Context, set setup) error {
	stories := set.stories()
	i := slices.IndexFunc(stories, func(sc scenario) bool { return sc.name == set.Args[0] })
	s := &stage{name: set.Args[0], short: set.Short, kernel: set.Backend == "kernel"}
	fmt.Printf("%s, %s form: %s\n", s.name, s.form(), stories[i].about)
	err := stories[i].run(ctx, s)
	if err == nil && len(s.rows) == 0 {
		err = errors.New("it measured nothing")
	}
	if err != nil {
		err = fmt.Errorf("%s: %w", s.name, err)
		s.row(result{Name: "ran to its end", Unit: "true", Aim: "1", Detail: err.Error()})
	}
	if werr := s.keep(filepath.Join(netns.Out, set.file())); werr != nil {
		return errors.Join(err, werr)
	}
	if err == nil && slices.ContainsFunc(s.rows, func(r result) bool { return !r.Met }) {
		err = fmt.Errorf("%s: not every aim was met; logs: %s", s.name, filepath.Join(set.Out, "scenario-"+s.name))
	}
	return err
}

// keep puts the rows into the file, in place of older ones of this scenario
// and form.
func (s *stage) keep(path string) error {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o644)
	if err != nil {
		return err
	}
	defer f.Close()
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX); err != nil {
		return fmt.Errorf("locking %s: %w", path, err)
	}
	var all []result
	if st, err := f.Stat(); err != nil {
		return err
	} else if st.Size() > 0 {
		if err := json.NewDecoder(f).Decode(&all); err != nil {
			return fmt.Errorf("reading %s: %w", path, err)
		}
	}
	all = slices.DeleteFunc(all, func(r result) bool {
		return strings.HasPrefix(r.Name, s.name+": ") && r.Form == s.form()
	})
	text, err := json.MarshalIndent(append(all, s.rows...), "", "  ")
	if err != nil {
		return err
	}
	if err := f.Truncate(0); err != nil {
		return err
	}
	_, err = f.WriteAt(append(text, '\n'), 0)
	return err
}
