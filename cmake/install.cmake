include(CMakePackageConfigHelpers)

install(TARGETS lastbit lastbit_sim lastbit_cli EXPORT lastbitTargets
        ARCHIVE DESTINATION ${CMAKE_INSTALL_LIBDIR}
        LIBRARY DESTINATION ${CMAKE_INSTALL_LIBDIR}
        RUNTIME DESTINATION ${CMAKE_INSTALL_BINDIR})
install(DIRECTORY src/ DESTINATION ${CMAKE_INSTALL_INCLUDEDIR}/lastbit FILES_MATCHING PATTERN "*.h")
install(DIRECTORY sim DESTINATION ${CMAKE_INSTALL_INCLUDEDIR}/lastbit FILES_MATCHING PATTERN "*.h")
install(DIRECTORY data/ DESTINATION ${CMAKE_INSTALL_DATADIR}/lastbit/data)
install(EXPORT lastbitTargets NAMESPACE lastbit:: DESTINATION ${CMAKE_INSTALL_LIBDIR}/cmake/lastbit)
configure_package_config_file(cmake/lastbitConfig.cmake.in ${CMAKE_BINARY_DIR}/lastbitConfig.cmake
                              INSTALL_DESTINATION ${CMAKE_INSTALL_LIBDIR}/cmake/lastbit)
write_basic_package_version_file(${CMAKE_BINARY_DIR}/lastbitConfigVersion.cmake COMPATIBILITY SameMinorVersion)
install(FILES ${CMAKE_BINARY_DIR}/lastbitConfig.cmake ${CMAKE_BINARY_DIR}/lastbitConfigVersion.cmake
        DESTINATION ${CMAKE_INSTALL_LIBDIR}/cmake/lastbit)
