package county

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"syscall"
	"time"

	"github.com/ginnel/ginnel/agent/block"
	"github.com/ginnel/ginnel/checks"
	"github.com/ginnel/ginnel/cmd/ginnel-lab/internal/netns"
)

// Agent is the agent of a gateway or hub.
type Agent struct {
	*program
	Name string // of the gateway, "avocet-1"
	Node *netns.Node
}

// AgentAt is the agent of a node that belongs to no county; its log and its
// process are the caller's business.
func AgentAt(n *netns.Node) *Agent { return &Agent{program: &program{node: n}, Name: n.Name, Node: n} }

func (c *County) agent(name string, n *netns.Node) *Agent {
	return &Agent{program: c.program(n), Name: name, Node: n}
}

// Backend is every lab node's back end, the same on every machine that the lab
// runs on unless it is told otherwise. It is set before anything is built.
var Backend = "userspace"

// HostConfig is every lab node's ginnel.toml.
func HostConfig() string { return fmt.Sprintf("backend = %q\n", Backend) }

// Key makes the private key of a network on first use and returns the public
// half.
func (a *Agent) Key(ctx context.Context, network string) (string, error) {
	out, err := a.Node.Run(ctx, "ginnel", "key", network)
	if err != nil {
		return "", err
	}
	key := strings.TrimSpace(out)
	if len(key) != 44 {
		return "", fmt.Errorf("%s: ginnel key %s printed %q, not a key", a.Name, network, key)
	}
	return key, nil
}

// Configure writes its files.
func (a *Agent) Configure(desired string) error {
	if err := a.Node.WriteFile("/etc/ginnel/ginnel.toml", HostConfig(), 0o644); err != nil {
		return err
	}
	return a.Node.WriteFile("/etc/ginnel/desired.toml", desired, 0o644)
}

// StartAgent starts `ginnel run` and returns at once.
func (a *Agent) StartAgent() error { return a.start("ginnel", "run") }

// StopAgent ends the agent as a service manager would.
func (a *Agent) StopAgent(ctx context.Context) error { return a.signal(ctx, syscall.SIGTERM, true) }

// Kill9Agent ends the agent as nothing should.
func (a *Agent) Kill9Agent(ctx context.Context) error { return a.signal(ctx, syscall.SIGKILL, true) }

// Status is what `ginnel status --json` says. The command's exit codes 1 and 2
// are answers too.
func (a *Agent) Status(ctx context.Context) (block.Snapshot, error) {
	var s block.Snapshot
	out, err := a.Node.Run(ctx, "ginnel", "status", "--json")
	if f, ok := errors.AsType[*netns.Failure](err); err != nil && (!ok || (f.Code != 1 && f.Code != 2) || out == "") {
		return s, err
	}
	if err := json.Unmarshal([]byte(out), &s); err != nil {
		return s, fmt.Errorf("%s: ginnel status --json: %w", a.Name, err)
	}
	return s, nil
}

// Await polls the status until it is as wanted, and returns how long that took.
func (a *Agent) Await(ctx context.Context, want func(block.Snapshot) bool) (time.Duration, block.Snapshot, error) {
	var last block.Snapshot
	took, err := poll(ctx, 100*time.Millisecond, func() (bool, error) {
		if gone, err := a.ended(); gone {
			return false, hopeless{&Ended{Program: "ginnel run", Err: err, Log: a.Log(5)}}
		}
		s, err := a.Status(ctx)
		if err != nil {
			return false, err
		}
		last = s
		if s.Config.Error != "" {
			return false, hopeless{fmt.Errorf("%s refuses its config: %s", a.Name, s.Config.Error)}
		}
		if !want(s) {
			return false, fmt.Errorf("%s is %s: %s", a.Name, s.State, Blame(s))
		}
		return true, nil
	})
	return took, last, err
}

// AwaitAnswer waits until the agent answers its commands, and returns how long
// that took.
func (a *Agent) AwaitAnswer(ctx context.Context) (time.Duration, error) {
	return poll(ctx, 20*time.Millisecond, func() (bool, error) {
		if gone, err := a.ended(); gone {
			return false, hopeless{&Ended{Program: "ginnel run", Err: err, Log: a.Log(5)}}
		}
		_, err := a.Status(ctx)
		return err == nil, err
	})
}

// AwaitPlanned waits until the host is as the config says: `ginnel plan` has no
// step left.
func (a *Agent) AwaitPlanned(ctx context.Context) error {
	_, err := poll(ctx, 20*time.Millisecond, func() (bool, error) {
		if gone, err := a.ended(); gone {
			return false, hopeless{&Ended{Program: "ginnel run", Err: err, Log: a.Log(5)}}
		}
		_, err := a.Node.Run(ctx, "ginnel", "plan")
		return err == nil, err
	})
	return err
}

// AllUp wants everything up.
func AllUp(s block.Snapshot) bool { return s.State == checks.Up }

// Blame says what is not up, in one line.
func Blame(s block.Snapshot) string {
	if s.Headline != "" {
		return strings.TrimSpace(s.Headline + " " + s.Code)
	}
	var not []string
	for _, t := range s.Tunnels {
		if t.State != checks.Up {
			not = append(not, fmt.Sprintf("tunnel %s/%s %s %s", t.Network, t.Hub, t.State, t.Reason))
		}
	}
	for _, k := range s.Checks {
		if k.State != checks.Up {
			not = append(not, fmt.Sprintf("check %s %s %s", k.Name, k.State, k.Detail))
		}
	}
	return strings.TrimSpace(strings.Join(not, "; "))
}

// Tunnel is a network's tunnel in a snapshot; false when there is none.
func Tunnel(s block.Snapshot, network string) (block.TunnelSnapshot, bool) {
	for _, t := range s.Tunnels {
		if t.Network == network {
			return t, true
		}
	}
	return block.TunnelSnapshot{}, false
}

// Check is a check by name in a snapshot; false when there is none.
func Check(s block.Snapshot, name string) (block.CheckSnapshot, bool) {
	for _, k := range s.Checks {
		if k.Name == name {
			return k, true
		}
	}
	return block.CheckSnapshot{}, false
}
