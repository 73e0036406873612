package trunk

import "encoding/binary"

// PartnerMAC is the switch's system address in LACP.
const PartnerMAC = "02:00:00:aa:bb:cc"

// The layout of an LACPDU in its frame (IEEE 802.1AX, section 6.4.2.3).
const (
	lacpSize    = 124
	lacpActor   = 16 // type, length, then what an actor says of itself
	lacpPartner = 36
	lacpInfo    = 20 // of both, type and length included
	lacpCollect = 56
)

// upState is: active, fast, aggregatable, in sync, collecting, distributing.
const upState = 0x01 | 0x02 | 0x04 | 0x08 | 0x10 | 0x20

// lacpAnswer is what a partner that agrees with everything answers on one of
// its ports; nil to what is no LACPDU.
func lacpAnswer(frame []byte, port int) []byte {
	if len(frame) < lacpSize || frame[14] != 1 || frame[lacpActor] != 1 || frame[lacpActor+1] != lacpInfo {
		return nil
	}
	a := make([]byte, lacpSize)
	copy(a, []byte{0x01, 0x80, 0xc2, 0, 0, 2, 0x02, 0, 0, 0xaa, 0xbb, byte(port)})
	binary.BigEndian.PutUint16(a[12:], typeSlow)
	a[14], a[15] = 1, 1 // LACP, version 1
	actor := a[lacpActor:]
	actor[0], actor[1] = 1, lacpInfo
	copy(actor[2:], []byte{0xff, 0xff, 0x02, 0, 0, 0xaa, 0xbb, 0xcc, 0, 7, 0, 0xff, 0, byte(port + 1), upState})
	copy(a[lacpPartner:], frame[lacpActor:lacpActor+lacpInfo])
	a[lacpPartner] = 2
	a[lacpCollect], a[lacpCollect+1] = 3, 16
	return a
}
