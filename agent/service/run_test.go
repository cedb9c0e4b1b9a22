package service_test

import (
	"context"
	"errors"
	"testing"

	"github.com/ginnel/ginnel/agent/service"
)

func TestRunEndsWithMain(t *testing.T) {
	broken := errors.New("broken")
	if err := service.Run(t.Context(), func(context.Context) error { return broken }); !errors.Is(err, broken) {
		t.Errorf("main failed; Run = %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	err := service.Run(ctx, func(ctx context.Context) error {
		cancel()
		<-ctx.Done()
		return nil
	})
	if err != nil {
		t.Errorf("main was stopped; Run = %v", err)
	}
}
