package plugin

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/ginnel/ginnel/checks"
)

// hostEnv makes the test's own program an agent that has the plugins of a
// folder, for tests that kill one.
const hostEnv = "GINNEL_TEST_HOST"

// TestMain makes the test's own program the plugin, or the agent, of its tests.
func TestMain(m *testing.M) {
	// Under -race a process waits for a second before it ends, if not told otherwise.
	environment = append(environment, "GORACE=atexit_sleep_ms=0")
	switch {
	case os.Getenv(handshake.MagicCookieKey) != "":
		servePuppet()
	case os.Getenv(instanceEnv) != "":
		beInstance()
	case os.Getenv(hostEnv) != "":
		beAgent(os.Getenv(hostEnv))
	default:
		os.Exit(m.Run())
	}
}

// servePuppet is main of the plugin.
func servePuppet() {
	watchAgent = !slices.Contains(os.Args, "no-watch")
	if slices.Contains(os.Args, "from-the-future") {
		servedVersion = protocolVersion + 1
	}
	if slices.Contains(os.Args, "dies") {
		fmt.Fprintln(os.Stderr, "no licence found")
		os.Exit(3)
	}
	for _, arg := range os.Args[1:] {
		misbehave(arg)
	}
	Serve(puppet(), checks.Kind{Name: "second", Doc: "is the program's second kind", New: func(checks.Target) (checks.Check, error) {
		return checks.Func(pid), nil
	}}, checks.Kind{Name: "clinical", Doc: "touches what others answer for", NeedsAgreement: true, New: func(checks.Target) (checks.Check, error) {
		return checks.Func(pid), nil
	}})
}

// puppet is a kind that does what its target says.
func puppet() checks.Kind {
	return checks.Kind{
		Name: "puppet",
		Doc:  "does what its target says",
		Schema: checks.Schema{
			"text":  {Type: "string", Doc: "a text", Default: "none", Enum: []string{"none", "some"}},
			"count": {Type: "int", Doc: "a number", Default: 3, Min: new(1.0), Max: new(9.0)},
			"yes":   {Type: "bool", Doc: "a choice"},
			"pause": {Type: "duration", Doc: "a duration", Default: 2 * time.Second},
			"list":  {Type: "strings", Doc: "some texts"},
			"file":  {Type: "string", Doc: "a file to write to"},
		},
		New: func(t checks.Target) (checks.Check, error) {
			if t.Address == "ponder" {
				time.Sleep(600 * time.Millisecond)
				return nil, errors.New("target \"ponder\" is nothing, on reflection")
			}
			if t.Address == "nowhere" {
				return nil, errors.New("target \"nowhere\" is not anywhere")
			}
			runs := 0
			return checks.Func(func(ctx context.Context) checks.Result {
				runs++
				return play(ctx, t, runs)
			}), nil
		},
	}
}

func play(ctx context.Context, t checks.Target, runs int) checks.Result {
	r := checks.Result{Verdict: checks.OK, Start: time.Now(), Sent: 1, Received: 1,
		RTT: []time.Duration{time.Millisecond}, Stamps: checks.KernelStamps}
	switch t.Address {
	case "pid":
		return pid(ctx)
	case "one shot":
		r.Detail = fmt.Sprint(t.OneShot, runs)
	case "count":
		r.Detail = strconv.Itoa(runs)
	case "target":
		r.Detail = fmt.Sprintf("%v %v %v", t.Source, t.Network, t.Options)
	case "env":
		r.Detail = strings.Join(os.Environ(), " ")
	case "args":
		r.Detail = strings.Join(os.Args, " ")
	case "comm":
		b, _ := os.ReadFile("/proc/self/comm")
		r.Detail = strings.TrimSpace(string(b))
	case "status":
		b, _ := os.ReadFile("/proc/self/status")
		r.Detail = string(b)
	case "deaf": // does not look at its context
		time.Sleep(3 * time.Second)
	case "wait":
		<-ctx.Done()
		if f := t.StringOption("file"); f != "" {
			os.WriteFile(f, []byte(ctx.Err().Error()), 0o600)
		}
		return checks.Result{Verdict: checks.Failed, Reason: checks.Timeout, Detail: "waited", Start: r.Start, Sent: 1}
	case "panic":
		panic("the strings are cut")
	case "exit":
		os.Exit(4)
	case "nonsense":
		return checks.Result{Verdict: checks.Failed, Reason: "gremlins", Start: r.Start}
	case "flood":
		line := bytes.Repeat([]byte("x"), 4096)
		for {
			os.Stderr.Write(line)
		}
	case "flood stdout":
		for {
			fmt.Println(strings.Repeat("x", 4096))
		}
	case "flood fd 1":
		for line := bytes.Repeat([]byte("x"), 4096); ; {
			syscall.Write(1, line)
		}
	case "say fd 1":
		syscall.Write(1, []byte("a line past go-plugin\n"))
	case "fork":
		c := exec.Command("sleep", "1000")
		c.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
		if err := c.Start(); err != nil {
			return selfFault(r.Start, err.Error())
		}
		r.Detail = strconv.Itoa(c.Process.Pid)
	case "say":
		fmt.Println("a line on stdout")
		fmt.Fprintln(os.Stderr, "a line on stderr")
	}
	return r
}

func pid(context.Context) checks.Result {
	return checks.Result{Verdict: checks.OK, Detail: strconv.Itoa(os.Getpid())}
}

// beAgent is main of the agent that is killed.
func beAgent(dir string) {
	kinds, err := Load(context.Background(), dir, Options{Owner: uint32(os.Getuid()),
		SocketDir: os.Getenv("GINNEL_TEST_SOCKETS"), Host: os.Getenv("GINNEL_TEST_SYSTEMD"), noDeathSignal: os.Getenv("GINNEL_TEST_NO_SIGNAL") != ""})
	if err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
	c, err := kinds[0].Make(checks.Target{Address: "pid", Timeout: 20 * time.Second})
	if err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
	fmt.Println(c.Run(context.Background()).Detail)
	select {}
}

// stage is a folder with an offer of the puppet.
type stage struct {
	dir, offer, program string
}

// set copies this program to a folder and offers it as a kind.
func set(t *testing.T, kind string, args ...string) stage {
	t.Helper()
	dir := t.TempDir()
	s := stage{dir: dir, offer: filepath.Join(dir, "puppet.toml"), program: filepath.Join(dir, "ginnel-check-puppet")}
	sum := copySelf(t, s.program)
	s.write(t, fmt.Sprintf("kind = %q\npath = %q\nsha256 = %q\nargs = [%s]\n", kind, s.program, sum, quoted(args)))
	return s
}

func quoted(args []string) string {
	var q []string
	for _, a := range args {
		q = append(q, strconv.Quote(a))
	}
	return strings.Join(q, ", ")
}

func (s stage) write(t *testing.T, offer string) {
	t.Helper()
	if err := os.WriteFile(s.offer, []byte(offer), 0o644); err != nil {
		t.Fatal(err)
	}
}

func copySelf(t *testing.T, to string) (sum string) {
	t.Helper()
	from, err := os.Open("/proc/self/exe")
	if err != nil {
		t.Fatal(err)
	}
	defer from.Close()
	out, err := os.OpenFile(to, os.O_CREATE|os.O_WRONLY, 0o755)
	if err != nil {
		t.Fatal(err)
	}
	hash := sha256.New()
	if _, err = io.Copy(io.MultiWriter(out, hash), from); err == nil {
		err = out.Close()
	}
	if err != nil {
		t.Fatal(err)
	}
	return fmt.Sprintf("%x", hash.Sum(nil))
}

func options() Options {
	return Options{Owner: uint32(os.Getuid())}
}

// hasty are the same with pauses as short as a test can be.
func hasty() Options {
	o := options()
	o.pause = 5 * time.Millisecond
	return o
}

// load loads a stage and takes it down at the end.
func (s stage) load(t *testing.T, o Options) ([]checks.Kind, error) {
	t.Helper()
	kinds, err := Load(t.Context(), s.dir, o)
	t.Cleanup(func() {
		for _, k := range kinds {
			if k.Close != nil {
				k.Close()
			}
		}
	})
	return kinds, err
}

// perform loads a stage that must be good and gives its kind.
func perform(t *testing.T, args ...string) checks.Kind {
	t.Helper()
	kinds, err := set(t, "puppet", args...).load(t, options())
	if err != nil || len(kinds) != 1 {
		t.Fatalf("%d kinds, %v", len(kinds), err)
	}
	return kinds[0]
}

const long = 20 * time.Second // for what should not take long; no measure of speed

func mustMake(t *testing.T, k checks.Kind, address string, options map[string]any) checks.Check {
	t.Helper()
	c, err := k.Make(checks.Target{Check: address, Address: address, Timeout: long, Options: options})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func run(t *testing.T, k checks.Kind, address string) checks.Result {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), long)
	defer cancel()
	return mustMake(t, k, address, nil).Run(ctx)
}

// pidOf asks the plugin for its number.
func pidOf(t *testing.T, k checks.Kind) int {
	t.Helper()
	r := run(t, k, "pid")
	n, err := strconv.Atoi(r.Detail)
	if err != nil {
		t.Fatalf("%+v", r)
	}
	return n
}

// until polls for a condition.
func until(t *testing.T, what string, f func() bool) {
	t.Helper()
	for end := time.Now().Add(long); time.Now().Before(end); time.Sleep(5 * time.Millisecond) {
		if f() {
			return
		}
	}
	t.Fatalf("waited %v in vain until %s", long, what)
}

// alive is false of a process that is gone, or a zombie that nobody waits for.
func alive(pid int) bool {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return false
	}
	_, rest, _ := strings.Cut(string(b), ") ")
	return !strings.HasPrefix(rest, "Z") && !strings.HasPrefix(rest, "X")
}

func sumOf(b []byte) string { return fmt.Sprintf("%x", sha256.Sum256(b)) }
