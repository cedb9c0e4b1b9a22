package county

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/ginnel/ginnel/agent/config/bundle/bundletest"
	"github.com/ginnel/ginnel/cmd/ginnel-lab/internal/netns"
)

// Where the operator's desk is, at the collector's node.
const (
	DeskHome  = "/run/desk"
	DeskFleet = DeskHome + "/fleet"
)

// signers are the operators whose keys lie on the desk.
var signers = []string{"alice", "bob"}

// Desk runs a command in the fleet's folder as an operator would, whose keys are
// in DeskHome. The error is a *netns.Failure.
func (c *Collector) Desk(ctx context.Context, args ...string) (string, error) {
	in := []string{"env", "HOME=" + DeskHome, "GINNEL_KEYSTORE=" + DeskHome + "/packs", "sh", "-c", `cd "$0" && exec "$@"`, DeskFleet}
	return c.Node.Run(ctx, append(in, args...)...)
}

// SetUpDesk makes the operators' keys and writes the fleet's files.
func (c *County) SetUpDesk(ctx context.Context) error {
	desk := c.Collector.Node
	if _, err := desk.Run(ctx, "mkdir", "-p", "-m", "0700", DeskHome, DeskHome+"/packs", DeskFleet); err != nil {
		return err
	}
	var lines []string
	for _, name := range signers {
		o := bundletest.New(name)
		lines = append(lines, o.Line())
		if err := desk.WriteFile(DeskHome+"/"+name, string(o.PEM()), 0o600); err != nil {
			return err
		}
		if err := desk.WriteFile(DeskHome+"/"+name+".pub", o.Line()+"\n", 0o644); err != nil {
			return err
		}
	}
	files, err := c.Plan.fleetFiles(lines)
	if err != nil {
		return err
	}
	for name, text := range files {
		if err := desk.WriteFile(DeskFleet+"/"+name, text, 0o644); err != nil {
			return err
		}
	}
	return nil
}

// PackFor has the desk make the site pack of a gateway of the fleet.
func (c *County) PackFor(ctx context.Context, gateway string) (string, error) {
	file := DeskHome + "/" + gateway + ".pack"
	site := strings.TrimSuffix(gateway, "-1")
	if _, err := c.Collector.Desk(ctx, "sh", "-c", "rm -f "+file+" && exec ginnelctl site add "+site+" --gateway "+gateway+" -o "+file); err != nil {
		return "", err
	}
	return c.Collector.Node.ReadFile(file)
}

// EnrolAll enrols every gateway, hubs included, with a pack of the desk's.
func (c *County) EnrolAll(ctx context.Context) error {
	for _, h := range c.Hubs {
		if err := c.enrolAgent(ctx, h.Agent); err != nil {
			return &StepError{h.Name(), "enrolment", err}
		}
	}
	return c.each(func(s *Site) error {
		if err := c.enrolAgent(ctx, s.Agent); err != nil {
			return &StepError{s.Name(), "enrolment", err}
		}
		return nil
	})
}

func (c *County) enrolAgent(ctx context.Context, a *Agent) error {
	pack, err := c.PackFor(ctx, a.Name)
	if err != nil {
		return err
	}
	return a.EnrolWith(ctx, pack)
}

// EnrolWith enrols the gateway with the text of a site pack.
func (a *Agent) EnrolWith(ctx context.Context, pack string) error {
	_, err := a.EnrolAloud(ctx, pack)
	return err
}

// EnrolAloud is EnrolWith, and returns what the technician's screen showed.
func (a *Agent) EnrolAloud(ctx context.Context, pack string) (string, error) {
	if err := a.Node.WriteFile(packPath, pack, 0o600); err != nil {
		return "", err
	}
	return a.Node.Run(ctx, "ginnel", "enrol", packPath, "--yes")
}

// Push pushes what the fleet's files say, and waits until it has arrived. It
// returns what the desk printed.
func (c *County) Push(ctx context.Context, flags ...string) (string, error) {
	args := append([]string{"ginnelctl", "push", "--yes", "--sign-with", DeskHome + "/" + signers[0]}, flags...)
	said, err := c.Collector.Desk(ctx, args...)
	if f, ok := errors.AsType[*netns.Failure](err); ok {
		return said, &StepError{"desk", "push", fmt.Errorf("%w\n%s", f, said)}
	}
	return said, err
}

// awaitKeys waits until the collector has every gateway's proof: the plan has
// nobody who waits for a key.
func (c *County) awaitKeys(ctx context.Context) error {
	names := []string{}
	for _, h := range c.Hubs {
		names = append(names, h.Agent.Name)
	}
	for _, s := range c.Sites {
		names = append(names, s.Gateway())
	}
	return c.AwaitProofs(ctx, 1, names...)
}

// AwaitProofs waits until the collector has so many proofs of keys from each of
// these gateways.
func (c *County) AwaitProofs(ctx context.Context, n int, names ...string) error {
	api, err := c.Collector.API()
	if err != nil {
		return err
	}
	_, err = poll(ctx, 50*time.Millisecond, func() (bool, error) {
		shown, err := api.Keys(ctx)
		if err != nil {
			return false, err
		}
		for _, k := range shown {
			names = slices.DeleteFunc(names, func(name string) bool { return name == k.Gateway && len(k.Proofs) >= n })
		}
		return len(names) == 0, fmt.Errorf("no proof of keys from %s", strings.Join(names, ", "))
	})
	if err != nil {
		return &StepError{"desk", "keys", err}
	}
	return nil
}

// List changes the list of what is shut out: `ginnelctl revoke`, `isolate` or
// `reconnect`, as args say. It returns what the desk printed.
func (c *County) List(ctx context.Context, args ...string) (string, error) {
	return c.Collector.Desk(ctx, slices.Concat([]string{"ginnelctl"}, args, []string{"--yes", "--sign-with", DeskHome + "/" + signers[0]})...)
}
