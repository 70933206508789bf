// What people write on a command line: tables of what the programs' parsers take and refuse.
#include <gtest/gtest.h>

#include <cstdint>
#include <string>
#include <vector>

#include "runtime/programs/common/errors.h"
#include "runtime/programs/common/latency_histogram.h"
#include "runtime/programs/common/network_address.h"
#include "runtime/programs/common/quantity.h"

namespace cport::programs {
namespace {

TEST(ParseDuration, TakesANumberAndAUnit) {
    struct Row {
        const char* text;
        int64_t value_ns;
    };
    const std::vector<Row> rows{{"0s", 0},
                                {"7ns", 7},
                                {"1us", 1'000},
                                {"250ms", 250'000'000},
                                {"10s", 10'000'000'000},
                                {"1.5s", 1'500'000'000},
                                {".5s", 500'000'000},
                                {"2m", 120'000'000'000},
                                {"1h", 3'600'000'000'000},
                                {"1000h", 3'600'000'000'000'000}};
    for (const Row& row : rows) EXPECT_EQ(parse_duration_ns(row.text), row.value_ns) << row.text;
}

TEST(ParseDuration, RefusesAnythingElse) {
    for (const char* text : {"", "s", "10", "-1s", "-0s", "+1s", " 1s", "1 s", "1s ", "1S", "1sec",
                             "1e3s", "0x1s", "infs", "nans", "1001h", "1..5s", "1,5s"}) {
        EXPECT_THROW((void)parse_duration_ns(text), UsageError) << text;
    }
}

TEST(ParseSize, TakesBytesOrANumberAndAUnit) {
    struct Row {
        const char* text;
        uint64_t value;
    };
    const std::vector<Row> rows{{"0", 0},
                                {"64", 64},
                                {"64B", 64},
                                {"16KiB", 16'384},
                                {"1.5KiB", 1'536},
                                {"1MiB", 1'048'576},
                                {"2GiB", 2'147'483'648},
                                {"1024GiB", 1'099'511'627'776}};
    for (const Row& row : rows) EXPECT_EQ(parse_size_bytes(row.text), row.value) << row.text;
}

TEST(ParseSize, RefusesAnythingElse) {
    for (const char* text : {"", "KiB", "-1", "1KB", "1kib", "1 KiB", "1TiB", "1025GiB", "1e3",
                             "0x10", "inf", "nan", "64 "}) {
        EXPECT_THROW((void)parse_size_bytes(text), UsageError) << text;
    }
}

TEST(ParseRate, TakesANumberAboveZero) {
    EXPECT_EQ(parse_rate("300"), 300);
    EXPECT_EQ(parse_rate("2.5"), 2.5);
    EXPECT_EQ(parse_rate("1000000000"), 1e9);
    for (const char* text : {"", "0", "-1", "1/s", "1000000001", "inf", "nan", "1e3", "many"}) {
        EXPECT_THROW((void)parse_rate(text), UsageError) << text;
    }
}

TEST(ParseTcpUrl, GivesHostAndPort) {
    struct Row {
        const char* text;
        const char* host;
        const char* port;
    };
    const std::vector<Row> rows{{"tcp://127.0.0.1:8090", "127.0.0.1", "8090"},
                                {"tcp://[::1]:8090", "::1", "8090"},
                                {"tcp://[fe80::1%lo]:7", "fe80::1%lo", "7"},
                                {"tcp://localhost:0", "localhost", "0"},
                                {"tcp://example-host.test:65535", "example-host.test", "65535"}};
    for (const Row& row : rows) {
        const Endpoint endpoint = parse_tcp_url(row.text);
        EXPECT_EQ(endpoint.url, row.text);
        EXPECT_EQ(endpoint.host, row.host) << row.text;
        EXPECT_EQ(endpoint.port, row.port) << row.text;
    }
}

TEST(ParseTcpUrl, RefusesAnythingElse) {
    for (const char* text :
         {"", "tcp://", "127.0.0.1:80", "udp://127.0.0.1:80", "TCP://127.0.0.1:80", "tcp://:80",
          "tcp://[]:80", "tcp://::1:80", "tcp://[::1]", "tcp://[::1:80", "tcp://::1]:80",
          "tcp://host", "tcp://host:", "tcp://host:x", "tcp://host:-1", "tcp://host:65536",
          "tcp://host:80/", "tcp://host:80 ", "tcp://a/b:80"}) {
        EXPECT_THROW((void)parse_tcp_url(text), UsageError) << text;
    }
}

TEST(FormatTcpUrl, IsWhatParseTcpUrlTakes) {
    for (const char* text : {"tcp://127.0.0.1:8090", "tcp://[::1]:8090", "tcp://0.0.0.0:0"}) {
        const std::vector<SocketAddress> addresses = resolve(parse_tcp_url(text));
        ASSERT_EQ(addresses.size(), 1U);
        EXPECT_EQ(format_tcp_url(addresses.front().storage), text);
    }
}

TEST(LatencyHistogram, QuantilesAreAtMostOnePartIn128TooHigh) {
    LatencyHistogram histogram;
    EXPECT_EQ(histogram.quantile_ns(0.5), 0);
    for (int64_t value = 1; value <= 1'000'000; ++value) histogram.record(value);
    for (const double fraction : {0.001, 0.5, 0.9, 0.999}) {
        const double exact = fraction * 1'000'000;
        const auto quantile = static_cast<double>(histogram.quantile_ns(fraction));
        EXPECT_GE(quantile, exact);
        EXPECT_LE(quantile, exact * (1 + 1.0 / 128));
    }
    EXPECT_EQ(histogram.quantile_ns(1), 1'000'000);
    EXPECT_EQ(histogram.max_ns(), 1'000'000);
    EXPECT_DOUBLE_EQ(histogram.mean_ns(), 500'000.5);
}

TEST(LatencyHistogram, ValuesOutsideTheRangeCountAsItsEnds) {
    LatencyHistogram histogram;
    histogram.record(-5);
    EXPECT_EQ(histogram.quantile_ns(1), 0);
    LatencyHistogram other;
    other.record(INT64_MAX);
    histogram.add(other);
    EXPECT_EQ(histogram.count(), 2U);
    EXPECT_EQ(histogram.quantile_ns(0.5), 0);
    EXPECT_EQ(histogram.quantile_ns(1), histogram.max_ns());
    EXPECT_GT(histogram.max_ns(), int64_t{4} * 3600 * 1'000'000'000);
}

}  // namespace
}  // namespace cport::programs
