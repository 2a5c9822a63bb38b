package http2

import (
	"bytes"
	"io"
	"net/http"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
)

// FuzzFrames: whatever bytes follow the SETTINGS of a client, nothing panics and, once the client has gone, nothing is left.
func FuzzFrames(f *testing.F) {
	var block bytes.Buffer
	enc := hpack.NewEncoder(&block)
	for _, pair := range [][2]string{{":method", "POST"}, {":scheme", "https"}, {":path", "/"}, {"content-length", "5"}, {"trailer", "x-after"}, {"expect", "100-continue"}} {
		enc.WriteField(hpack.HeaderField{Name: pair[0], Value: pair[1]})
	}
	header := bytes.Clone(block.Bytes())
	block.Reset()
	enc.WriteField(hpack.HeaderField{Name: "x-after", Value: "1"})
	for _, write := range []func(w *http2.Framer){
		func(w *http2.Framer) {
			w.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, EndHeaders: true, BlockFragment: header})
			w.WriteData(1, false, []byte("hello"))
			w.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, EndStream: true, EndHeaders: true, BlockFragment: block.Bytes()})
		},
		func(w *http2.Framer) {
			w.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: header[:3], PadLength: 3})
			w.WriteContinuation(1, true, header[3:])
			w.WriteDataPadded(1, true, []byte("hello"), make([]byte, 10))
			w.WriteRSTStream(1, http2.ErrCodeCancel)
		},
		func(w *http2.Framer) {
			w.WriteSettings(http2.Setting{ID: http2.SettingInitialWindowSize, Val: 3}, http2.Setting{ID: http2.SettingHeaderTableSize, Val: 0})
			w.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, EndHeaders: true, BlockFragment: header, Priority: http2.PriorityParam{StreamDep: 3, Weight: 1}})
			w.WriteData(1, true, []byte("hello"))
			w.WriteWindowUpdate(1, 1)
			w.WriteWindowUpdate(0, 1)
			w.WriteSettings(http2.Setting{ID: http2.SettingInitialWindowSize, Val: 0})
			w.WritePing(false, [8]byte{})
		},
		func(w *http2.Framer) {
			w.WriteGoAway(1, http2.ErrCodeNo, nil)
			w.WritePriority(1, http2.PriorityParam{StreamDep: 5})
			w.WriteRawFrame(0xfa, 0xff, 1, []byte("odd"))
			w.WritePushPromise(http2.PushPromiseParam{StreamID: 1, PromiseID: 2, BlockFragment: header, EndHeaders: true})
		},
	} {
		var b bytes.Buffer
		w := http2.NewFramer(&b, nil)
		w.AllowIllegalWrites = true
		write(w)
		f.Add(b.Bytes())
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		synctest.Test(t, func(t *testing.T) {
			s := open(t, false, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				http.NewResponseController(w).SetReadDeadline(time.Now().Add(time.Minute))
				w.Header().Set("Trailer", "X-After")
				n, err := io.Copy(w, r.Body)
				w.Header()["X-After"] = r.Trailer["X-After"]
				if n == 0 && err != nil {
					panic(http.ErrAbortHandler)
				}
			}))
			p := s.greeted()
			go io.Copy(io.Discard, p.conn)
			p.conn.Write(data) // fails if the server ends the connection before
			synctest.Wait()
			p.conn.NetConn().Close()
			synctest.Wait()
			if log := s.logged(); bytes.Contains([]byte(log), []byte("panic")) {
				t.Error(log)
			}
		})
	})
}
