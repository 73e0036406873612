package pace

import "time"

// Timeouts bound the steps before a body. Each is doubled, up to a limit, for a
// mirror that needed longer.
type Timeouts struct {
	Dial   time.Duration // default 10 s; 4 s where another mirror can be asked instead
	TLS    time.Duration // default 10 s
	Header time.Duration // from the request to the end of the response's header; default 20 s
}

// WithDefaults fills in what is not given, for that many mirrors.
func (t Timeouts) WithDefaults(mirrors int) Timeouts {
	set := func(d *time.Duration, v time.Duration) {
		if *d <= 0 {
			*d = v
		}
	}
	if mirrors > 1 {
		set(&t.Dial, 4*time.Second) // the kernel's SYNs of 0, 1 and 3 s
	}
	set(&t.Dial, 10*time.Second)
	set(&t.TLS, 10*time.Second)
	set(&t.Header, 20*time.Second)
	return t
}
