-- Prints what wrk measured as JSON after the word "report". Latencies in microseconds.
done = function(summary, latency, requests)
  local failed = summary.errors.connect + summary.errors.read + summary.errors.write + summary.errors.timeout
  io.write(string.format(
    'report {"requests":%d,"bytes":%d,"microseconds":%d,"failed":%d,"status":%d,"p50":%.0f,"p99":%.0f,"p999":%.0f}\n',
    summary.requests, summary.bytes, summary.duration, failed, summary.errors.status,
    latency:percentile(50), latency:percentile(99), latency:percentile(99.9)))
end
