package network

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
)

// A server that answers is found beside one that is silent, and after connects
// that were lost; one that refuses is there too.
func TestReach(t *testing.T) {
	unreachable := errors.New("no route to host")
	silent := func(ctx context.Context) (net.Conn, error) {
		<-ctx.Done()
		return nil, context.Cause(ctx)
	}
	answers := func(context.Context) (net.Conn, error) {
		conn, other := net.Pipe()
		other.Close()
		return conn, nil
	}
	refuses := func(context.Context) (net.Conn, error) { return nil, fmt.Errorf("dial: %w", syscall.ECONNREFUSED) }
	fails := func(context.Context) (net.Conn, error) { return nil, unreachable }
	var lost atomic.Int32
	losesTwo := func(ctx context.Context) (net.Conn, error) {
		if lost.Add(1) <= 2 {
			return silent(ctx)
		}
		return answers(ctx)
	}
	tooLate := errors.New("too late")
	for name, test := range map[string]struct {
		servers []func(context.Context) (net.Conn, error)
		want    error
	}{
		"one":                   {[]func(context.Context) (net.Conn, error){answers}, nil},
		"refused":               {[]func(context.Context) (net.Conn, error){refuses}, nil},
		"silent, then one":      {[]func(context.Context) (net.Conn, error){silent, answers}, nil},
		"failing, then refused": {[]func(context.Context) (net.Conn, error){fails, refuses}, nil},
		"connects lost":         {[]func(context.Context) (net.Conn, error){losesTwo}, nil},
		"none":                  {[]func(context.Context) (net.Conn, error){fails, fails}, unreachable},
		"all silent":            {[]func(context.Context) (net.Conn, error){silent, silent}, tooLate},
		"nobody to ask":         {nil, nil},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var addresses []string
				for i := range test.servers {
					addresses = append(addresses, fmt.Sprint(i))
				}
				ctx, cancel := context.WithTimeoutCause(t.Context(), 30e9, tooLate)
				defer cancel()
				err := reach(ctx, func(ctx context.Context, _, address string) (net.Conn, error) {
					return test.servers[address[0]-'0'](ctx)
				}, addresses)
				if !errors.Is(err, test.want) {
					t.Errorf("%v, want %v", err, test.want)
				}
			})
		})
	}
}
