package plugin

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/ginnel/ginnel/checks"
	pb "github.com/ginnel/ginnel/checks/plugin/proto"
)

const (
	// patience is how long after a run's deadline the agent waits for the
	// plugin's answer: more than the plugin's lateness, less than the time
	// after which a Runner answers itself.
	patience = 200 * time.Millisecond
	// validateMost bounds the other calls.
	validateMost = 5 * time.Second
	// timeoutUsual bounds a run that neither its target nor its context does.
	timeoutUsual = 5 * time.Second
)

// restarting is the Detail of a check whose plugin is not there just now.
const restarting = "plugin restarting"

// remote is a kind in a process.
type remote struct {
	process *process
	kind    string
}

// kindOf is a kind of the process that looks built in. Where the program is not
// there, or does not have it, the kind is late and the error says why.
func (p *process) kindOf(name string) (checks.Kind, error) {
	r := &remote{p, name}
	k, err := p.describe(name)
	k.New, k.Source, k.Close = r.make, r, func() error { return p.leave(r) }
	k.Standing = func() checks.Standing { return p.standing(name) }
	p.mu.Lock()
	p.latest[name] = r
	p.mu.Unlock()
	return k, err
}

// describe is what the program says of a kind.
func (p *process) describe(name string) (checks.Kind, error) {
	k := checks.Kind{Name: name, Doc: "its program is not there", Late: true}
	s, err := p.now()
	if s == nil {
		return k, cmp.Or(err, errors.New("the plugin ended"))
	}
	d, err := s.has(name)
	if err != nil {
		return k, err
	}
	k.Doc, k.Late, k.Schema, k.NeedsAgreement = d.GetDoc(), false, fromSchema(d.GetSchema()), d.GetNeedsAgreement()
	return k, nil
}

// may says why a check of the kind is not to be run now; nil: it may.
func (r *remote) may(s *session) error {
	d, err := s.has(r.kind)
	if err != nil {
		return err
	}
	if o := r.process.offer(r.kind); d.GetNeedsAgreement() && o.Agreement == "" {
		return fmt.Errorf("the owner of what it asks has not agreed: %s has no agreement", o.File)
	}
	return nil
}

// make is checks.Kind.New. A plugin that is not there cannot be asked whether
// the target is good, and one that was slow to say so is not asked again; then the
// first run tells.
func (r *remote) make(t checks.Target) (checks.Check, error) {
	target, err := toTarget(t)
	if err != nil {
		return nil, err
	}
	if s, _ := r.process.now(); s != nil {
		if err := r.validate(s, target); err != nil {
			return nil, err
		}
	}
	return &remoteCheck{remote: r, target: target, instance: instances.Add(1), oneShot: t.OneShot}, nil
}

// validate asks the program what is wrong with a target.
func (r *remote) validate(s *session, target *pb.Target) error {
	most, done := s.validating()
	if most <= 0 {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.Background(), most)
	defer cancel()
	answer, err := s.checks.Validate(ctx, &pb.ValidateRequest{Kind: r.kind, Target: target})
	done()
	if err == nil || ctx.Err() != nil {
		s.answered(err == nil)
	}
	if err == nil && len(answer.GetFaults()) > 0 {
		return fromFaults(answer.GetFaults())
	}
	return nil
}

// instances numbers the checks of this process.
var instances atomic.Uint64

// remoteCheck is a check in a process.
type remoteCheck struct {
	*remote
	target   *pb.Target
	instance uint64
	oneShot  bool
}

// Run implements checks.Check. The plugin measures and takes the times; what
// the call costs is in none of them.
func (c *remoteCheck) Run(ctx context.Context) checks.Result {
	sent := time.Now()
	s, err := c.process.now()
	switch {
	case s == nil && err != nil && strings.HasPrefix(err.Error(), checks.QuarantinePrefix):
		return notRun(sent, err.Error())
	case s == nil && err != nil:
		return notRun(sent, "the plugin is not there: "+err.Error())
	case s == nil:
		return selfFault(sent, restarting)
	}
	if err := c.may(s); err != nil {
		return notRun(sent, err.Error())
	}
	within := cmp.Or(time.Duration(c.target.GetTimeoutNs()), timeoutUsual)
	if d, ok := ctx.Deadline(); ok {
		within = max(time.Until(d), 0)
	}
	call, cancel := context.WithTimeout(context.WithoutCancel(ctx), within+patience)
	defer cancel()
	stop := context.AfterFunc(ctx, func() {
		if !errors.Is(ctx.Err(), context.DeadlineExceeded) {
			cancel()
		}
	})
	defer stop()
	answer, err := s.checks.Run(call, &pb.RunRequest{Kind: c.kind, Target: c.target,
		DeadlineNs: int64(within), Instance: c.instance, OneShot: c.oneShot})
	if err == nil {
		s.answered(true)
		return fromResult(answer, sent)
	}
	return c.fault(ctx, call, s, sent, err)
}

// fault says why there is no answer. None of it is the target's fault.
func (c *remoteCheck) fault(ctx, call context.Context, s *session, sent time.Time, err error) checks.Result {
	switch {
	case ctx.Err() != nil && !errors.Is(ctx.Err(), context.DeadlineExceeded):
		return notRun(sent, "broken off")
	case call.Err() != nil || status.Code(err) == codes.DeadlineExceeded:
		s.answered(false)
		return selfFault(sent, "the plugin did not answer")
	case status.Code(err) == codes.Unavailable, status.Code(err) == codes.Canceled: // its end, or we closed the connection after it
		return selfFault(sent, restarting)
	default:
		return selfFault(sent, "the plugin answered with an error: "+status.Convert(err).Message())
	}
}
