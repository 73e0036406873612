package network

import (
	"context"
	"errors"
	"net"
	"sync"
	"syscall"
	"time"
)

// A switch port that has just come up may swallow the first packets, and the
// kernel repeats a SYN after 1, 3 and 7 s. So a connect that nobody answers is
// joined by another after firstAgain, and after twice that, and so on.
const (
	firstAgain = 300 * time.Millisecond
	rounds     = 6
)

type dialer func(ctx context.Context, network, address string) (net.Conn, error)

// reach asks all addresses at once, and is content with the first that
// answers, be it by refusing: one that is silent must not hide the others. The
// error is the last one.
func reach(ctx context.Context, dial dialer, addresses []string) error {
	var wg sync.WaitGroup
	defer wg.Wait()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	answers := make(chan error, rounds*len(addresses)) // nobody is left behind at a full channel
	asked := 0
	ask := func() {
		for _, address := range addresses {
			asked++
			wg.Go(func() {
				conn, err := dial(ctx, "tcp", address)
				if err == nil {
					conn.Close()
				}
				if errors.Is(err, syscall.ECONNREFUSED) {
					err = nil
				}
				answers <- err
			})
		}
	}
	ask()
	again := firstAgain
	timer := time.NewTimer(again)
	defer timer.Stop()
	var last error
	for answered := 0; answered < asked; {
		select {
		case err := <-answers:
			if err == nil {
				return nil
			}
			answered++
			last = err
		case <-timer.C:
			if asked < rounds*len(addresses) {
				ask()
				again *= 2
				timer.Reset(again)
			}
		}
	}
	return last
}
