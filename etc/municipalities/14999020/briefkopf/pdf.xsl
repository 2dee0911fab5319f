<?xml version="1.0" encoding="UTF-8"?>
<!-- The common page with this municipality's letterhead; what is imported last wins. -->
<xsl:stylesheet version="1.0" xmlns:xsl="http://www.w3.org/1999/XSL/Transform">
  <xsl:import href="common:pdf.xsl"/>
  <xsl:import href="briefkopf.xsl"/>
</xsl:stylesheet>
