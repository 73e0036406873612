package pace

import (
	"fmt"
	"math"
	"time"
)

// RateString has two significant digits or more: "118 MiB/s", "1.4 MiB/s",
// "12 KiB/s".
func RateString(bytesPerSecond float64) string {
	switch mibs := bytesPerSecond / (1 << 20); {
	case mibs >= 10:
		return fmt.Sprintf("%.0f MiB/s", mibs)
	case mibs >= 1:
		return fmt.Sprintf("%.1f MiB/s", mibs)
	}
	return fmt.Sprintf("%.0f KiB/s", bytesPerSecond/(1<<10))
}

// longest is the longest time that is worth telling: what comes at such a rate
// is not coming.
const longest = 100 * time.Hour

// ETA is how long the rest takes at a rate, -1 where that says nothing.
func ETA(left int64, rate float64) time.Duration {
	seconds := float64(left) / rate
	if rate <= 0 || left < 0 || seconds > longest.Seconds() {
		return -1
	}
	return time.Duration(seconds * float64(time.Second))
}

// Meter is a rate averaged with more weight on what is recent.
type Meter struct {
	rate   float64
	weight float64 // how much of the average is real and not its start at zero
}

const meterSpan = 3 * time.Second

// Add notes bytes that came in a time.
func (m *Meter) Add(bytes int64, dt time.Duration) {
	if dt <= 0 {
		return
	}
	keep := math.Exp(-dt.Seconds() / meterSpan.Seconds())
	m.rate = m.rate*keep + float64(bytes)/dt.Seconds()*(1-keep)
	m.weight = m.weight*keep + (1 - keep)
}

// Value is the rate in bytes per second.
func (m *Meter) Value() float64 {
	if m.weight == 0 {
		return 0
	}
	return m.rate / m.weight
}
