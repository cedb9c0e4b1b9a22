// Package run starts a list of tasks together and stops them together.
package run

import (
	"context"
	"errors"
	"fmt"
	"sync"
)

// Task is one part of a daemon.
type Task struct {
	Name string
	// Run works until ctx is done, then returns nil. It calls ready once,
	// when the rest of the program may count on it.
	Run func(ctx context.Context, ready func()) error
}

// Run starts the tasks together and stops them together: the first failure
// cancels the rest with that failure as the cause. It calls ready once, when
// every task is ready, and returns after the last task has. A task that returns
// nil while ctx is not done has failed too.
func Run(ctx context.Context, tasks []Task, ready func()) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var wg sync.WaitGroup
	up := make(chan struct{}, len(tasks))
	errs := make([]error, len(tasks))
	for i, t := range tasks {
		isUp := sync.OnceFunc(func() { up <- struct{}{} })
		wg.Go(func() {
			err := t.Run(ctx, isUp)
			if err == nil && ctx.Err() == nil {
				err = errors.New("stopped early")
			}
			if err != nil {
				errs[i] = fmt.Errorf("%s: %w", t.Name, err)
				cancel(errs[i])
			}
		})
	}
	if allReady(ctx, up, len(tasks)) {
		ready()
	}
	wg.Wait()
	return errors.Join(errs...)
}

// allReady waits for n tasks; false when ctx ended first.
func allReady(ctx context.Context, up <-chan struct{}, n int) bool {
	for range n {
		select {
		case <-up:
		case <-ctx.Done():
			return false
		}
	}
	return true
}
