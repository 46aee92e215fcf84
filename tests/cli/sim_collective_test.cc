// lastbit sim cluster and lastbit sim collective, as a user runs them.
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "support/cli.h"
#include "support/shared.h"

namespace lastbit::testing {
namespace {

using nlohmann::json;

std::vector<std::string> collective(const std::string& kind, const std::vector<std::string>& more) {
  std::vector<std::string> all{"sim", "collective", "--cluster", "h800-2048", "--kind", kind};
  all.insert(all.end(), more.begin(), more.end());
  return all;
}

TEST(SimCluster, PrintsSizesDrawsAndShowsRoutes) {
  const TempDir dir;
  const CliResult sizes = run_cli({"sim", "cluster", "h800-2048", "--json", "--svg", dir.file("f.svg")});
  ASSERT_EQ(sizes.exit_code, 0) << sizes.err;
  const json out = json::parse(sizes.out);
  EXPECT_EQ(out.at("gpus"), 2048);
  EXPECT_EQ(out.at("leaves"), 64);
  EXPECT_TRUE(read_file(dir.file("f.svg")).starts_with("<svg "));
  const CliResult route = run_cli({"sim", "cluster", "h800-2048", "--route", "0", "9"});
  EXPECT_EQ(route.exit_code, 0) << route.err;
  for (const char* part : {"nvup0 ", "nvdn1 ", "nicup1 ", "nicdn9 ", "GPU 0 to GPU 9: 4 links"})
    EXPECT_NE(route.out.find(part), std::string::npos) << part;
  EXPECT_NE(run_cli({"sim", "cluster", "h20", "--links"}).out.find("\np3l0->s7\n"), std::string::npos);
}

TEST(SimCluster, RefusesInOneLine) {
  const TempDir dir;
  const auto refused = [&](const std::vector<std::string>& more, const std::vector<std::string>& parts) {
    std::vector<std::string> args{"sim", "cluster", "h800-2048", "--svg", dir.file("f.svg")};
    args.insert(args.end(), more.begin(), more.end());
    expect_one_line_error(run_cli(args), 2, parts);
    EXPECT_EQ(read_file(dir.file("f.svg")), "");
  };
  refused({"--set", "cluster.network.fabric=fat-tree"}, {"network.fabric", "did you mean 'fat-tree-2'?"});
  refused({"--set", "cluster.network.routing=random"}, {"network.routing", "adaptive"});
  refused({"--set", "cluster.network.nic_peak=0 GB/s"}, {"network.nic_peak", "0 GB/s"});
  refused({"--set", "cluster.network.failed_nics=[0,1,2,3,4,5,6,7]"}, {"NICs of node 0", "disconnects"});
  refused({"--set", "cluster.network.failed_links=[\"l0->s0\"]"}, {"no link 'l0->s0'"});
  refused({"--set", "cluster.nodes=100000"}, {"64 leaves"});
  refused({"--rates", "best"}, {"rates", "best"});
  expect_one_line_error(run_cli({"sim", "cluster", "h800"}), 2, {"unknown cluster 'h800'"});
  expect_one_line_error(run_cli({"sim", "cluster", "h800-2048", "--route", "0", "5000"}), 2, {"GPU 5000"});
}

TEST(SimCollective, TimesCollectivesWithAndWithoutFolding) {
  const CliResult folded = run_cli(collective("alltoall", {"--ranks", "64", "--bytes", "64MiB", "--json"}));
  const CliResult plain =
      run_cli(collective("alltoall", {"--ranks", "64", "--bytes", "67108864", "--json", "--no-fold"}));
  ASSERT_EQ(folded.exit_code, 0) << folded.err;
  const json a = json::parse(folded.out);
  const json b = json::parse(plain.out);
  EXPECT_EQ(b.at("flow_classes"), 4032);
  EXPECT_LT(a.at("flow_classes"), 10);
  EXPECT_NEAR(a.at("time_s").get<double>() / b.at("time_s").get<double>(), 1, 1e-12);
}

TEST(SimCollective, LimitsNodesOfADispatch) {
  const auto nic_bytes = [](const std::string& kept) {
    const CliResult result = run_cli(collective("dispatch", {"--ranks", "64", "--kept-groups", kept, "--json"}));
    EXPECT_EQ(result.exit_code, 0) << result.err;
    const json out = json::parse(result.out);
    const double token_bytes = 4096 * (7168 + 4 * 56.0);
    EXPECT_NEAR(out.at("most_nic_bytes").get<double>() / token_bytes, out.at("nic_copies_per_token").get<double>(),
                1e-9);
    return out.at("most_nic_bytes").get<double>();
  };
  EXPECT_LT(nic_bytes("4"), 0.75 * nic_bytes("8"));
}

TEST(SimCollective, RefusesInOneLine) {
  const auto refused = [](const std::string& kind, const std::vector<std::string>& more,
                          const std::vector<std::string>& parts) {
    expect_one_line_error(run_cli(collective(kind, more)), 2, parts);
  };
  refused("alltoal", {"--ranks", "8", "--bytes", "1MB"}, {"alltoal", "did you mean 'alltoall'?"});
  refused("alltoall", {"--ranks", "8"}, {"--bytes is missing"});
  refused("alltoall", {"--ranks", "8", "--bytes", "1GB/s"}, {"--bytes", "unknown unit 'GB/s'"});
  refused("alltoall", {"--ranks", "1", "--bytes", "1MB"}, {"at least 2"});
  refused("alltoall", {"--ranks", "5000", "--bytes", "1MB"}, {"5000", "2048"});
  refused("alltoall", {"--ranks", "0-3,2", "--bytes", "1MB"}, {"GPU 2 is there twice"});
  refused("alltoall", {"--ranks", "64", "--groups", "33", "--bytes", "1MB"}, {"33", "32 groups"});
  refused("allreduce", {"--ranks", "12", "--bytes", "1MB", "--algorithm", "nvls"}, {"whole nodes"});
  refused("dispatch", {"--ranks", "64", "--kept-groups", "9"}, {"top 8 of 9 groups"});
  refused("dispatch", {"--ranks", "12"}, {"as many GPUs on every node"});
  refused("dispatch", {"--ranks", "64", "--format", "fp4"}, {"format", "fp4"});
}

}  // namespace
}  // namespace lastbit::testing
