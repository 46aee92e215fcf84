// Where the program's own tables lie: models, clusters, jobs, calibration, measurements.
#pragma once

#include <string>

namespace lastbit::io {

// For a program that is not Lastbit's, such as an interpreter: where data_dir() finds it unless LASTBIT_DATA is set.
void set_data_dir(const std::string& folder);

// The folder `data`: the environment variable LASTBIT_DATA if set, else what set_data_dir() said, else beside the
// source of a build tree (PROGRAM/../../data), else where `install` puts it (PROGRAM/../share/lastbit/data). An error
// names all of them.
[[nodiscard]] std::string data_dir();

// The path of `relative` ("models/deepseek-v3.json") below data_dir(); bad input if it is not there.
[[nodiscard]] std::string data_path(const std::string& relative);

}  // namespace lastbit::io
