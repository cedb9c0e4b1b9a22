package plugin

import (
	"context"
	"fmt"
	"sync"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/ginnel/ginnel/checks"
	pb "github.com/ginnel/ginnel/checks/plugin/proto"
)

// server is the plugin's side of the wire: it makes checks of its kinds and
// runs them.
type server struct {
	pb.UnimplementedChecksServer
	kinds checks.Registry

	mu   sync.Mutex
	made map[uint64]*madeCheck // by instance, so that a check keeps what it learnt
}

// madeCheck is a check that was made for one instance.
type madeCheck struct {
	check checks.Check
	free  chan struct{} // holds one token while no run has it
	used  time.Time
}

const (
	// madeMost is how many checks are remembered; beyond it the one that was
	// not used for longest is made anew next time.
	madeMost = 1024
	// lateness is how long after its deadline a run may still give its own
	// answer. It is less than what the agent waits (patience).
	lateness = 100 * time.Millisecond
)

func newServer(kinds checks.Registry) *server {
	return &server{kinds: kinds, made: map[uint64]*madeCheck{}}
}

// Describe implements the RPC.
func (s *server) Describe(context.Context, *pb.DescribeRequest) (*pb.DescribeResponse, error) {
	out := &pb.DescribeResponse{}
	for _, k := range s.kinds.Kinds() {
		p, err := toKind(k)
		if err != nil {
			return nil, status.Error(codes.Internal, err.Error())
		}
		out.Kinds = append(out.Kinds, p)
	}
	return out, nil
}

// Validate implements the RPC.
func (s *server) Validate(_ context.Context, in *pb.ValidateRequest) (*pb.ValidateResponse, error) {
	_, err := s.make(in.GetKind(), in.GetTarget(), false)
	return &pb.ValidateResponse{Faults: toFaults(err)}, nil
}

// Run implements the RPC.
func (s *server) Run(ctx context.Context, in *pb.RunRequest) (*pb.RunResponse, error) {
	arrived := time.Now()
	m, err := s.instance(in)
	if err != nil {
		return toResult(checks.Result{Verdict: checks.Unknown, Reason: checks.NotRun, Detail: err.Error()}, arrived), nil
	}
	select { // a run that was cancelled may not have ended yet
	case <-m.free:
	case <-time.After(lateness):
		return toResult(selfFault(arrived, "not started: the run before has not ended"), arrived), nil
	}
	return toResult(measure(ctx, m, time.Duration(in.GetDeadlineNs())), arrived), nil
}

// measure runs a check, and answers in its place when it does not end in time.
func measure(ctx context.Context, m *madeCheck, within time.Duration) checks.Result {
	ctx, cancel := context.WithTimeout(ctx, within)
	results := make(chan checks.Result, 1)
	go func() {
		defer cancel()
		defer func() { m.free <- struct{}{} }()
		results <- guarded(ctx, m.check)
	}()
	late := time.NewTimer(within + lateness)
	defer late.Stop()
	select {
	case r := <-results:
		return r
	case <-late.C:
		return checks.Result{Verdict: checks.Failed, Reason: checks.Timeout,
			Detail: fmt.Sprintf("the check did not end within its %v", within.Round(time.Millisecond))}
	}
}

// guarded turns a panic into a fault of the plugin.
func guarded(ctx context.Context, c checks.Check) (r checks.Result) {
	defer func() {
		if p := recover(); p != nil {
			r = selfFault(time.Now(), fmt.Sprintf("the check panicked: %v", p))
		}
	}()
	return c.Run(ctx)
}

func (s *server) make(kind string, target *pb.Target, oneShot bool) (checks.Check, error) {
	t, err := fromTarget(target)
	if err != nil {
		return nil, err
	}
	t.OneShot = oneShot
	k, ok := s.kinds.Lookup(kind)
	if !ok {
		return nil, fmt.Errorf("kind %q: %w", kind, checks.ErrNoKind)
	}
	return k.Make(t)
}

// instance finds or makes the check of a request.
func (s *server) instance(in *pb.RunRequest) (*madeCheck, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	m := s.made[in.GetInstance()]
	if m == nil {
		c, err := s.make(in.GetKind(), in.GetTarget(), in.GetOneShot())
		if err != nil {
			return nil, err
		}
		m = &madeCheck{check: c, free: make(chan struct{}, 1)}
		m.free <- struct{}{}
		if in.GetOneShot() {
			return m, nil
		}
		s.forget()
		s.made[in.GetInstance()] = m
	}
	m.used = time.Now()
	return m, nil
}

// forget makes room for one more check. s.mu is held.
func (s *server) forget() {
	if len(s.made) < madeMost {
		return
	}
	var oldest uint64
	var at time.Time
	for id, m := range s.made {
		if at.IsZero() || m.used.Before(at) {
			oldest, at = id, m.used
		}
	}
	delete(s.made, oldest)
}
