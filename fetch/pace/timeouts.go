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

// Urgent fills in what is not given where somebody waits for every part of a
// file that is asked for: another mirror is asked soon.
func (t Timeouts) Urgent(mirrors int) Timeouts {
	urgent := Timeouts{TLS: 10 * time.Second, Header: 5 * time.Second}
	if mirrors > 1 {
		urgent = Timeouts{TLS: 4 * time.Second, Header: 3 * time.Second}
	}
	if t.TLS <= 0 {
		t.TLS = urgent.TLS
	}
	if t.Header <= 0 {
		t.Header = urgent.Header
	}
	return t.WithDefaults(mirrors)
}
