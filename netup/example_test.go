package netup_test

import (
	"context"
	"fmt"
	"log/slog"
	"time"

	"netstage/netup"
	"netstage/netup/ipparam"
	"netstage/netup/lease"
)

// Every link is tried; the one whose lease leads to the server wins.
func ExampleUp() {
	config, err := ipparam.Parse(ipparam.Params{IP: []string{"dhcp"}})
	if err != nil {
		slog.Error(err.Error())
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	network, err := netup.Up(ctx, netup.Options{
		Log:    slog.Default(),
		Config: config,
		Prove: func(ctx context.Context, l lease.Lease) error {
			c, err := netup.Path{Lease: l}.DialContext(ctx, "tcp", "images.example:443")
			if err != nil {
				return err
			}
			return c.Close()
		},
	})
	if err != nil {
		slog.Error(err.Error())
		return
	}
	defer network.Close()
	fmt.Println(network.Lease())
}
