package plugin

import (
	"cmp"
	"context"
	"errors"
	"fmt"
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

// describe asks the process for a kind and makes one of it that looks built in.
func describe(ctx context.Context, p *process, name string) (checks.Kind, error) {
	ctx, cancel := context.WithTimeout(ctx, validateMost)
	defer cancel()
	s := p.now()
	if s == nil {
		return checks.Kind{}, errors.New("the plugin ended")
	}
	d, err := s.checks.Describe(ctx, &pb.DescribeRequest{})
	if err != nil {
		return checks.Kind{}, fmt.Errorf("asking for its kinds: %w", err)
	}
	var has []string
	for _, k := range d.GetKinds() {
		if k.GetName() == name {
			r := &remote{p, name}
			return checks.Kind{Name: name, Doc: k.GetDoc(), Schema: fromSchema(k.GetSchema()), New: r.make, Close: p.Close}, nil
		}
		has = append(has, k.GetName())
	}
	return checks.Kind{}, fmt.Errorf("the program has no kind %q; it has %q", name, has)
}

// late is a kind whose program is not there yet.
func late(p *process, name string) checks.Kind {
	r := &remote{p, name}
	return checks.Kind{Name: name, Doc: "its program is not there", Late: true, New: r.make, Close: p.Close}
}

// make is checks.Kind.New. A plugin that is not there cannot be asked whether
// the target is good; then the first run tells.
func (r *remote) make(t checks.Target) (checks.Check, error) {
	target, err := toTarget(t)
	if err != nil {
		return nil, err
	}
	if s := r.process.now(); s != nil {
		ctx, cancel := context.WithTimeout(context.Background(), validateMost)
		defer cancel()
		answer, err := s.checks.Validate(ctx, &pb.ValidateRequest{Kind: r.kind, Target: target})
		if err == nil || ctx.Err() != nil {
			s.answered(err == nil)
		}
		if err == nil && len(answer.GetFaults()) > 0 {
			return nil, fromFaults(answer.GetFaults())
		}
	}
	return &remoteCheck{remote: r, target: target, instance: instances.Add(1)}, nil
}

// instances numbers the checks of this process.
var instances atomic.Uint64

// remoteCheck is a check in a process.
type remoteCheck struct {
	*remote
	target   *pb.Target
	instance uint64
}

// Run implements checks.Check. The plugin measures and takes the times; what
// the call costs is in none of them.
func (c *remoteCheck) Run(ctx context.Context) checks.Result {
	sent := time.Now()
	s := c.process.now()
	if s == nil {
		if err := c.process.why(); err != nil {
			return checks.Result{Verdict: checks.Unknown, Reason: checks.NotRun, Detail: "the plugin is not there: " + err.Error(), Start: sent}
		}
		return selfFault(sent, restarting)
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
		DeadlineNs: int64(within), Instance: c.instance})
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
		return checks.Result{Verdict: checks.Unknown, Reason: checks.NotRun, Detail: "broken off", Start: sent}
	case call.Err() != nil || status.Code(err) == codes.DeadlineExceeded:
		s.answered(false)
		return selfFault(sent, "the plugin did not answer")
	case status.Code(err) == codes.Unavailable, status.Code(err) == codes.Canceled: // its end, or we closed the connection after it
		return selfFault(sent, restarting)
	default:
		return selfFault(sent, "the plugin answered with an error: "+status.Convert(err).Message())
	}
}
