package swarm

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/ginnel/ginnel/cmd/internal/centre"
)

// Collector is a `ginnel-collector serve` on this machine's loopback.
type Collector struct {
	API   *centre.Client
	Pages string // its pages, http://ADDRESS
	URL   string // what gateways call

	program string
	args    []string
	log     string
	cmd     *exec.Cmd
	ended   chan error
}

// NewCollector makes one that keeps its data and its log below dir. Start
// starts it.
func NewCollector(program, dir string, heartbeat time.Duration) (*Collector, error) {
	gateways, err := freePort()
	if err != nil {
		return nil, err
	}
	pages, err := freePort()
	if err != nil {
		return nil, err
	}
	c := &Collector{Pages: "http://" + pages, URL: "https://" + gateways, program: program, log: filepath.Join(dir, "collector.log"),
		args: []string{"serve", "--data", filepath.Join(dir, "collector"), "--url", "https://" + gateways,
			"--gateways", gateways, "--pages", pages, "--heartbeat", heartbeat.String(), "--log-level", "warn"}}
	c.API, err = centre.NewClient(c.Pages, nil)
	return c, err
}

// freePort is a free port of the loopback, as an address.
func freePort() (string, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	defer l.Close()
	return l.Addr().String(), nil
}

// Start returns once the collector answers. The thread that it runs on must live
// as long, as the lab's main one does.
func (c *Collector) Start(ctx context.Context) error {
	ctx, cancel := context.WithTimeoutCause(ctx, 30*time.Second, errors.New("the collector does not answer"))
	defer cancel()
	log, err := os.OpenFile(c.log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return err
	}
	defer log.Close()
	c.cmd = exec.Command(c.program, c.args...)
	c.cmd.Stdout, c.cmd.Stderr = log, log
	// Its own group, for a Ctrl-C at the terminal is the lab's to pass on; and it
	// ends with a lab that is killed.
	c.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGTERM}
	if err := c.cmd.Start(); err != nil {
		return fmt.Errorf("start the collector: %w", err)
	}
	cmd := c.cmd
	c.ended = make(chan error, 1)
	go func() { c.ended <- cmd.Wait() }()
	for {
		if _, err := c.API.Health(ctx); err == nil {
			return nil
		}
		select {
		case err := <-c.ended:
			return errors.Join(fmt.Errorf("the collector has ended; its log: %s", c.log), err)
		case <-ctx.Done():
			return errors.Join(context.Cause(ctx), c.Stop())
		case <-time.After(50 * time.Millisecond):
		}
	}
}

// Stop ends it as a service manager would, and returns when it is gone.
func (c *Collector) Stop() error {
	if err := c.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		return err
	}
	return <-c.ended
}

// Memory is what it has in memory, in bytes.
func (c *Collector) Memory() (int64, error) { return memory(strconv.Itoa(c.cmd.Process.Pid)) }

// Memory is what this process has in memory, in bytes.
func Memory() (int64, error) { return memory("self") }

func memory(pid string) (int64, error) {
	text, err := os.ReadFile("/proc/" + pid + "/status")
	if err != nil {
		return 0, err
	}
	for line := range strings.Lines(string(text)) {
		if rest, ok := strings.CutPrefix(line, "VmRSS:"); ok {
			kib, err := strconv.ParseInt(strings.TrimSpace(strings.TrimSuffix(strings.TrimSpace(rest), "kB")), 10, 64)
			return kib << 10, err
		}
	}
	return 0, errors.New("the kernel does not say how much memory is used")
}
