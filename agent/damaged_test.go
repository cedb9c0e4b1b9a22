package agent_test

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/ginnel/ginnel/agent/identity"
	"github.com/ginnel/ginnel/agent/local"
	"github.com/ginnel/ginnel/agent/why"
)

// A damaged file takes no site's tunnels away at a start: the last good config
// runs, what would need the file is refused by its name, and the file stays.
func TestSiteRunsOverADamagedFile(t *testing.T) {
	for name, damage := range map[string]string{
		"trust/trust.json":        `{"mark": 1`,
		"identity/device.key":     "no key\n",
		"identity/instance":       "\x00\x00\x00",
		"identity/enrolment.toml": "collector = [",
	} {
		t.Run(name, func(t *testing.T) {
			root, d := t.TempDir(), newDesk(t)
			d.trusted(root)
			r := start(t, root, site)
			r.untilUp()
			if _, err := r.apply(d.bundle(1, site)); err != nil {
				t.Fatal(err)
			}
			r.stop()
			file := filepath.Join(r.paths.Var, name)
			if err := errors.Join(os.MkdirAll(filepath.Dir(file), 0o700), os.WriteFile(file, []byte(damage), 0o600)); err != nil {
				t.Fatal(err)
			}
			again := start(t, root, strings.Replace(site, "198.51.100.0/24", "198.51.100.0/25", 1))
			again.untilUp()
			c := again.agent.Snapshot().Config
			if c.Generation != 1 || c.Code != string(why.Damaged) || !strings.Contains(c.Error, file) {
				t.Errorf("it runs %+v", c)
			}
			report, err := again.agent.Why(t.Context(), "")
			if err != nil || !strings.Contains(report.Text(time.UTC), "GN-CONF-08") || !strings.Contains(report.Text(time.UTC), name) {
				t.Errorf("why: %v\n%v", err, report)
			}
			again.refusesAll(d, file)
			if left, err := os.ReadFile(file); err != nil || string(left) != damage {
				t.Errorf("the file is %q, %v", left, err)
			}
		})
	}
}

// refusesAll asks for all that needs a damaged file.
func (r *rig) refusesAll(d desk, file string) {
	r.t.Helper()
	_, apply := r.apply(d.bundle(2, site))
	pack := newCollector(r.t)
	enrol := r.agent.Enrol(r.t.Context(), pack.pack(), func(local.Progress) {})
	back := r.agent.Rollback(r.t.Context())
	for what, err := range map[string]error{"config": apply, "enrolment": enrol, "rollback": back} {
		if err == nil || !strings.Contains(err.Error(), what+" refused: ") || !strings.Contains(err.Error(), file) {
			r.t.Errorf("%s: %v", what, err)
		}
	}
	r.agent.Steering().Hear(r.t.Context(), d.list(7, d.alice, "avocet-1"))
	time.Sleep(100 * time.Millisecond)
	if n := r.agent.Snapshot().Config.List; n != 0 {
		r.t.Errorf("list %d is in force, and cannot be kept", n)
	}
}

// A gateway that runs by hand goes on so.
func TestByHandOverADamagedFile(t *testing.T) {
	root := t.TempDir()
	r := start(t, root, site)
	r.stop()
	dir := r.paths.Identity()
	if err := errors.Join(os.MkdirAll(dir, 0o700), os.WriteFile(filepath.Join(dir, "device.key"), nil, 0o600)); err != nil {
		t.Fatal(err)
	}
	if _, err := identity.Open(dir); err == nil {
		t.Fatal("an empty key is no damage")
	}
	r = start(t, root, site)
	r.untilUp()
	if err := r.agent.Reload(t.Context()); err != nil {
		t.Error(err)
	}
}
